"""Calls registered rewards and checks their answers."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from alignkit.answers import Question
from alignkit.errors import UserError, named
from alignkit.example import Example, Group
from alignkit.reward import Engine, Reward
from alignkit.rewards.awaiting import await_all
from alignkit.rewards.given import EXPECTED, Given, read_given
from alignkit.rewards.kinds import RegisteredReward

ARGUMENTS = {"self", "prompts", "completions", "completion_ids"}


@dataclass(frozen=True)
class Completions:
    """What rewards are asked about: N completions, each with its prompt and its token ids.

    columns: the data's, with N entries each.
    """

    prompts: list[Any]
    completions: list[Any]
    ids: list[list[int]]
    columns: Mapping[str, list[Any]]


def call_rewards(
    rewards: Sequence[RegisteredReward],
    examples: Sequence[Example],
    groups: Sequence[Group],
    engines: Mapping[str, Engine] | None = None,
) -> dict[str, list[list[Given]]]:
    """Return what each reward, by name, gives each completion of each example, as [example][completion].

    groups: the same completions as token ids. engines: those of the rewards that use one, by name. The data's
    columns reach a reward once per completion. Rewards are called in their order; those that are async are
    awaited together afterwards.
    """
    wanted = _completions(examples, groups)
    found = {}
    for name, flat in score(rewards, wanted, engines).items():
        scores = iter(flat)
        found[name] = [[next(scores) for _ in example.completions] for example in examples]
    return found


def score(
    rewards: Sequence[RegisteredReward], wanted: Completions, engines: Mapping[str, Engine] | None = None
) -> dict[str, list[Given]]:
    """Return what each reward gives each of the N completions, by the reward's name.

    Raises UserError, which names the reward, where a reward fails or its answer is not as `Reward.score`
    describes it.
    """
    questions = {
        reward.name: Question(
            wanted.prompts, "score", "completions", named("reward", reward.name, reward.plugin), EXPECTED
        )
        for reward in rewards
    }
    answers: dict[str, Any] = {}
    try:
        for reward in rewards:
            engine = (engines or {}).get(reward.name)
            answers[reward.name] = _call(reward, wanted, questions[reward.name], engine)
        _await(rewards, answers, questions)
    finally:
        for answer in answers.values():
            if isinstance(answer, Coroutine):  # another reward failed, so that it was never awaited
                answer.close()
    return {
        name: read_given(questions[name], answer, wanted.completions, wanted.ids)
        for name, answer in answers.items()
    }


def _completions(examples: Sequence[Example], groups: Sequence[Group]) -> Completions:
    owners = [example for example in examples for _ in example.completions]
    names = sorted(set().union(*(example.extra for example in examples)))
    return Completions(
        [example.prompt for example in owners],
        [completion for example in examples for completion in example.completions],
        [tokens for group in groups for tokens in group.completions],
        {name: [example.extra.get(name) for example in owners] for name in names},
    )


def _call(reward: RegisteredReward, wanted: Completions, question: Question, engine: Engine | None) -> Any:
    """Return the reward's answer, or what is to be awaited for it."""
    more: dict[str, Any] = {} if engine is None else {"engine": engine}
    for taken in sorted((ARGUMENTS | more.keys()) & wanted.columns.keys()):
        raise UserError(
            f"the data has a column {taken!r}, which is an argument of every reward",
            where=question.where,
            hint=f"Give the column another name: `rename: {{{taken}: OTHER}}` in the recipe's data entry.",
        )
    function = _function(reward)
    given = {"prompts": wanted.prompts, "completions": wanted.completions, "completion_ids": wanted.ids}
    return question.put(lambda: function(**given, **more, **wanted.columns), function)


def _await(
    rewards: Sequence[RegisteredReward], answers: dict[str, Any], questions: Mapping[str, Question]
) -> None:
    """Put answers in the place of those that are awaited."""
    waiting = [reward for reward in rewards if inspect.isawaitable(answers[reward.name])]
    gathered = await_all([answers[reward.name] for reward in waiting])
    for reward, answer in zip(waiting, gathered, strict=True):
        question = questions[reward.name]
        if isinstance(answer, BaseException):
            raise question.failed(answer, _function(reward)) from answer
        answers[reward.name] = question.put(partial(_same, answer), _function(reward))


def _same(answer: Any) -> Any:
    return answer


def _function(reward: RegisteredReward) -> Any:
    return reward.call.score if isinstance(reward.call, Reward) else reward.call
