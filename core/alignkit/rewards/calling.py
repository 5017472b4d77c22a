"""Calls a registered reward and checks its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignkit.answers import ask
from alignkit.errors import UserError
from alignkit.example import Example, Group
from alignkit.reward import Reward, RewardCall
from alignkit.rewards.kinds import RegisteredReward

ARGUMENTS = {"self", "prompts", "completions", "completion_ids"}


def call_reward(
    reward: RegisteredReward, examples: Sequence[Example], groups: Sequence[Group]
) -> list[list[float | None]]:
    """Return what a registered reward gives each completion of each example, as [example][completion].

    groups: the same completions as token ids. The data's columns reach the reward once per completion.
    """
    owners = [example for example in examples for _ in example.completions]
    names = set().union(*(example.extra for example in examples))
    scores = iter(
        score(
            reward.call,
            reward.name,
            [example.prompt for example in owners],
            [completion for example in examples for completion in example.completions],
            [tokens for group in groups for tokens in group.completions],
            {name: [example.extra.get(name) for example in owners] for name in sorted(names)},
        )
    )
    return [[next(scores) for _ in example.completions] for example in examples]


def score(
    reward: RewardCall,
    name: str,
    prompts: list[Any],
    completions: list[Any],
    ids: list[list[int]],
    columns: Mapping[str, list[Any]],
) -> list[float | None]:
    """Return what `reward`, registered as `name`, gives each of the N completions; None where it abstains.

    prompts, completions, ids and each of `columns` have N entries; ids are the completions' tokens, which the
    reward gets as `completion_ids`. Raises UserError where the reward fails or its answer is not N finite
    numbers or Nones.
    """
    where = f"reward {name!r}"
    for taken in ARGUMENTS & set(columns):
        raise UserError(
            f"the data has a column {taken!r}, which is an argument of every reward",
            where=where,
            hint=f"Give the column another name: `rename: {{{taken}: OTHER}}` in the recipe's data entry.",
        )
    call = reward.score if isinstance(reward, Reward) else reward
    return ask(
        lambda: call(prompts=prompts, completions=completions, completion_ids=ids, **columns),
        prompts,
        what="score",
        items="completions",
        where=where,
    )
