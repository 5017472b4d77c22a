"""Collects the samples of a batch: rounds of prompts that are drawn, scored, and accepted or refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from alignkit.batch import REWARD_PART
from alignkit.data.rows import batch_of
from alignkit.errors import UserError
from alignkit.example import Group
from alignkit.objective import OnlineObjective, overrides
from alignkit.rewards.scoring import Scorer, Scores
from alignkit.rollouts import Rollouts
from alignkit.signals import STEP_END
from alignkit.training.drawing import DrawnSamples, RoundDrawer
from alignkit.training.metrics import ACCEPTED, REWARDS, SAMPLING_SECONDS
from alignkit.training.preparing import accepted
from alignkit.training.step_ends import step_end


@dataclass(frozen=True)
class ScoredSamples:
    """Samples that have a score, by prompt; prompts without any are left out.

    places: the prompts' places among those that were drawn. Everything else is as [completion] over all
    prompts: rewards, parts (each summed reward by itself), token_rewards and logps (one number per token),
    and sources.
    """

    places: list[int]
    groups: list[Group]
    rewards: list[float]
    parts: dict[str, list[float]]
    token_rewards: list[list[float]] | None
    logps: list[list[float]]
    sources: list[int]

    def only(self, places: Sequence[int]) -> ScoredSamples:
        """Return the prompts at these places alone."""
        wanted, kept, at = set(places), [], 0
        for place, group in zip(self.places, self.groups, strict=True):
            end = at + len(group.completions)
            kept += range(at, end) if place in wanted else ()
            at = end
        chosen = [(p, g) for p, g in zip(self.places, self.groups, strict=True) if p in wanted]
        return ScoredSamples(
            [place for place, _ in chosen],
            [group for _, group in chosen],
            [self.rewards[i] for i in kept],
            {name: [numbers[i] for i in kept] for name, numbers in self.parts.items()},
            None if self.token_rewards is None else [self.token_rewards[i] for i in kept],
            [self.logps[i] for i in kept],
            [self.sources[i] for i in kept],
        )


@dataclass(frozen=True)
class _Drawn:
    """All rounds of a batch so far, with their scores."""

    samples: DrawnSamples = field(default_factory=lambda: DrawnSamples([], [], [], []))
    scores: Scores | None = None

    def with_(self, samples: DrawnSamples, scores: Scores) -> _Drawn:
        """Add a round."""
        return _Drawn(self.samples + samples, scores if self.scores is None else self.scores + scores)


@dataclass(frozen=True)
class Collected:
    """The samples of a batch that are used, the scores of all that were drawn, and what is reported."""

    kept: ScoredSamples
    scores: Scores
    metrics: dict[str, float]


class Collector:
    """Collects the batches of an objective. updates: the optimizer steps that a batch serves."""

    def __init__(
        self,
        objective: OnlineObjective,
        drawer: RoundDrawer,
        scorer: Scorer,
        *,
        updates: int,
        note: Callable[[str], None],
    ) -> None:
        self.objective, self.drawer, self.scorer = objective, drawer, scorer
        self.updates, self.note = updates, note

    def collect(self, number: int, steps: int) -> Collected:
        """Return the samples of batch `number`. steps: the optimizer steps of the stage.

        Raises UserError where the reward abstains from all.
        """
        if overrides(self.objective, "accept"):
            return self._collect_accepted(number, steps)
        began = time.perf_counter()
        samples = self.drawer.first_round(number)
        seconds = time.perf_counter() - began
        scores = self.scorer(samples.examples, samples.groups)
        kept = with_a_score(samples, scores, self._names)
        if not kept.groups:
            raise UserError(
                "the reward abstained from every sample",
                where=str(self.drawer.files.folder),
                hint="Check the reward.",
            )
        return Collected(kept, scores, _metrics(samples, scores, seconds))

    def rollouts(self, kept: ScoredSamples, number: int, steps: int) -> Rollouts:
        """Return the samples as rollouts with all that is known before any role is computed, on the CPU."""
        batch, _ = batch_of(kept.groups or [Group([0], ([0],), {})])
        signals = {
            "sampler_logps": _per_token(kept.logps, batch.mask.shape[1]),
            "source": torch.tensor(kept.sources, dtype=torch.long),
        }
        if self.objective.rewarded:
            signals["rewards"] = torch.tensor(kept.rewards, dtype=torch.float32)
            for name, numbers in kept.parts.items():
                signals[f"{REWARD_PART}{name}"] = torch.tensor(numbers, dtype=torch.float32)
        if self.objective.rewarded and kept.token_rewards is not None:
            signals["token_rewards"] = _per_token(kept.token_rewards, batch.mask.shape[1])
        count = len(kept.rewards)
        return Rollouts(
            batch.tokens[:count],
            batch.mask[:count],
            batch.group[:count],
            {name: column[:count] for name, column in batch.columns.items()},
            signals | self._steps(kept, batch.mask.shape[1]),
            batch.prompts if kept.groups else (),
            number * self.updates,
            steps,
            tuple(self.drawer.sources),
            self.drawer.prompts.report.left_out,
            reward_weights={weighted.name: weighted.weight for weighted in self.scorer.rewards},
        )

    def _steps(self, kept: ScoredSamples, width: int) -> dict[str, Tensor]:
        """Return where the samples' steps end, (N, width), for an objective that reads them in steps."""
        separator = self.objective.step_separator
        if separator is None:
            return {}
        text = self.drawer.base.text
        rows = [
            step_end(tokens, group, separator, text) for group in kept.groups for tokens in group.completions
        ]
        return {STEP_END: _per_token(rows, width)}

    def _collect_accepted(self, number: int, steps: int) -> Collected:
        """Do the same for an objective that refuses prompts: others are drawn in their place."""
        wanted, drawn, seconds = self.drawer.batch_size, _Drawn(), 0.0
        chosen: list[int] = []  # places among all prompts that were drawn
        for at in range(self.objective.max_rounds):
            began = time.perf_counter()
            samples = self.drawer.next_round(number, at, wanted - len(chosen))
            seconds += time.perf_counter() - began
            if not len(samples):
                break
            scores = self.scorer(samples.examples, samples.groups)
            kept = with_a_score(samples, scores, self._names)
            if kept.groups:
                answers = accepted(self.objective, self.rollouts(kept, number, steps), len(kept.groups))
                before = len(drawn.samples)
                chosen += [before + place for place, yes in zip(kept.places, answers, strict=True) if yes]
            drawn = drawn.with_(samples, scores)
            if len(chosen) == wanted:
                break
        if len(chosen) < wanted:
            self.note(
                f"batch {number + 1} has {len(chosen)} of {wanted} prompts: {self.objective.name} accepted "
                f"no more of the {len(drawn.samples)} that were drawn"
            )
        assert drawn.scores is not None  # there is at least one prompt
        kept = with_a_score(drawn.samples, drawn.scores, self._names).only(chosen)
        metrics = _metrics(drawn.samples, drawn.scores, seconds)
        return Collected(kept, drawn.scores, metrics | {ACCEPTED: len(chosen) / len(drawn.samples)})

    @property
    def _names(self) -> list[str]:
        return [weighted.name for weighted in self.scorer.rewards]


def with_a_score(samples: DrawnSamples, scores: Scores, names: Sequence[str]) -> ScoredSamples:
    """Leave out samples of which a reward abstained. names: the rewards that are summed."""
    found = ScoredSamples([], [], [], {name: [] for name in names}, None, [], [])
    tokens: list[list[float]] = []
    for place, (group, totals) in enumerate(zip(samples.groups, scores.total, strict=True)):
        kept = [at for at, total in enumerate(totals) if total is not None]
        if not kept:
            continue
        found.places.append(place)
        found.groups.append(group.select(kept))
        found.rewards.extend(total for total in totals if total is not None)
        for name in names:
            found.parts[name].extend(scores.each[name][place][at] or 0.0 for at in kept)
        found.logps.extend(samples.logps[place][at] for at in kept)
        found.sources.extend(samples.sources[place][at] for at in kept)
        if scores.token_rewards is not None:
            for at in kept:
                row = scores.token_rewards[place][at]
                length = len(group.completions[at])
                tokens.append(row if row is not None else [0.0] * (length - 1) + [totals[at] or 0.0])
    return found if scores.token_rewards is None else replace(found, token_rewards=tokens)


def _metrics(samples: DrawnSamples, scores: Scores, seconds: float) -> dict[str, float]:
    lengths = [len(tokens) for group in samples.groups for tokens in group.completions]
    finished = [value for group in samples.groups for value in group.columns["finished"]]
    scored = sum(total is not None for totals in scores.total for total in totals)
    return {
        **{f"{REWARDS}{name}": mean for name, mean in scores.means().items()},
        "rollouts/length": sum(lengths) / len(lengths),
        "rollouts/finished": sum(finished) / len(finished),
        "rollouts/abstained": 1 - scored / len(lengths),
        SAMPLING_SECONDS: seconds,
    }


def _per_token(rows: Sequence[Sequence[float]], width: int) -> Tensor:
    """Return numbers per token of each completion, padded with zeros to (N, width)."""
    found = torch.zeros(len(rows), width)
    for place, row in enumerate(rows):
        found[place, : len(row)] = torch.tensor(row)
    return found
