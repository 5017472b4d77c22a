"""Scores completions by a weighted sum of rewards, registered ones and reward models.

T: the tokens of a completion, which differ from completion to completion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

from alignkit.example import Example, Group
from alignkit.progress import ProgressOf, doing, silent
from alignkit.reward import Engine
from alignkit.rewards.calling import call_rewards
from alignkit.rewards.given import Given, PerStep, PerToken, total_of
from alignkit.rewards.kinds import RegisteredReward, RewardModel, Rewards
from alignkit.rewards.models import RewardModels
from alignkit.rewards.scaling import Numbers, Scale

TokenNumbers: TypeAlias = list[list[list[float] | None]]
"""[prompt][completion][token]; None where a reward abstained."""


class TextOf(Protocol):
    """Gives the text of token ids, which follow those of a plain prompt; `Base.text` is one."""

    def __call__(self, ids: list[int], after: list[int] | None = None) -> str:
        """Return the text. after: the ids of the prompt."""
        ...


@dataclass(frozen=True)
class Scores:
    """The scores of a batch of completions.

    total: the weighted sum, None where one of its rewards abstained. each: every reward's own scores, before
    they are standardized and weighted; of numbers per token or step, their sum. token_rewards: T numbers for
    each completion, whose sum is its total, where a reward of the sum gives a number per token or step. Other
    rewards are in them at the last token. None where no reward does, and where nothing decodes tokens.
    """

    total: Numbers
    each: dict[str, Numbers]
    token_rewards: TokenNumbers | None = None

    def __add__(self, other: Scores) -> Scores:
        each = {name: numbers + other.each[name] for name, numbers in self.each.items()}
        tokens = None
        if self.token_rewards is not None or other.token_rewards is not None:
            tokens = [
                row
                for scores in (self, other)
                for row in scores.token_rewards or [[None] * len(totals) for totals in scores.total]
            ]
        return Scores(self.total + other.total, each, tokens)

    def means(self) -> dict[str, float]:
        """Return the mean of each reward; a reward that abstained from everything is left out."""
        found = {
            name: [value for values in numbers for value in values if value is not None]
            for name, numbers in self.each.items()
        }
        return {name: sum(values) / len(values) for name, values in found.items() if values}


class Scorer:
    """Scores completions by `rewards`; `watch` is measured as well, and not summed.

    models: what loads reward models; not needed where all rewards are registered ones. engines: the engine of
    each reward that uses one, by name. text: decodes token ids, so that steps are found among the tokens;
    without it there are no `token_rewards`, and steps count by their sums. progress: shows what is scored.
    """

    def __init__(
        self,
        rewards: Rewards,
        watch: Rewards = (),
        models: RewardModels | None = None,
        *,
        engines: Mapping[str, Engine] | None = None,
        text: TextOf | None = None,
        progress: ProgressOf = silent,
    ) -> None:
        self.progress = progress
        self.rewards, self.watch, self.models = rewards, watch, models
        self.engines, self.text = engines or {}, text
        for weighted in (*rewards, *watch):
            if isinstance(weighted.reward, RewardModel):
                self._models.load(weighted.reward)
            elif weighted.uses and weighted.name not in self.engines:
                raise ValueError(f"the reward {weighted.name!r} uses an engine: give `engines`")

    def __call__(self, examples: Sequence[Example], groups: Sequence[Group]) -> Scores:
        """Return the scores of each example's completions. groups: their token ids, which models read."""
        given = self._given(examples, groups)
        each = {
            name: [[total_of(value) for value in values] for values in of_reward]
            for name, of_reward in given.items()
        }
        scales = [
            Scale.of(weighted.weight, each[weighted.name], standardize=weighted.standardize)
            for weighted in self.rewards
        ]
        summands = [(scale, each[w.name]) for w, scale in zip(self.rewards, scales, strict=True)]
        total = [
            [_sum([scale.of_sum(sums[i][k]) for scale, sums in summands]) for k in range(len(completions))]
            for i, completions in enumerate(example.completions for example in examples)
        ]
        return Scores(total, each, self._token_rewards(examples, groups, given, total, scales))

    @property
    def _models(self) -> RewardModels:
        if self.models is None:
            raise ValueError("a reward model is scored over a base: give `models`")
        return self.models

    def _given(self, examples: Sequence[Example], groups: Sequence[Group]) -> dict[str, list[list[Given]]]:
        """Return what each reward gives, by name, in the order of the rewards."""
        rewards = {weighted.name: weighted.reward for weighted in (*self.rewards, *self.watch)}
        registered = [reward for reward in rewards.values() if isinstance(reward, RegisteredReward)]
        with doing(self.progress("scoring")):
            called = call_rewards(registered, examples, groups, self.engines)
        return {
            name: called[name] if isinstance(reward, RegisteredReward) else self._of_model(reward, groups)
            for name, reward in rewards.items()
        }

    def _of_model(self, reward: RewardModel, groups: Sequence[Group]) -> list[list[Given]]:
        progress = self.progress(f"scoring by {reward.name}")
        return [[*scores] for scores in self._models.scores(reward, groups, progress)]

    def _token_rewards(
        self,
        examples: Sequence[Example],
        groups: Sequence[Group],
        given: Mapping[str, list[list[Given]]],
        total: Numbers,
        scales: Sequence[Scale],
    ) -> TokenNumbers | None:
        """Return the weighted sum of the rewards at each token, or None; see `Scores`."""
        summands = [(scale, given[w.name]) for w, scale in zip(self.rewards, scales, strict=True)]
        several = any(
            isinstance(value, PerToken | PerStep)
            for _, part in summands
            for values in part
            for value in values
        )
        if self.text is None or not several:
            return None
        found: TokenNumbers = []
        for i, (example, group) in enumerate(zip(examples, groups, strict=True)):
            text = partial(self.text, after=group.prompt) if isinstance(example.prompt, str) else self.text
            rows = [
                [scale.at_tokens(part[i][k], ids, text) for scale, part in summands]
                if total[i][k] is not None
                else None
                for k, ids in enumerate(group.completions)
            ]
            found.append([None if of_rewards is None else _added(of_rewards) for of_rewards in rows])
        return found


def _sum(summands: list[float | None]) -> float | None:
    if any(value is None for value in summands):
        return None
    return sum(value for value in summands if value is not None)


def _added(rows: list[list[float]]) -> list[float]:
    """Return the sums of several rows of T numbers."""
    return [sum(numbers) for numbers in zip(*rows, strict=True)]
