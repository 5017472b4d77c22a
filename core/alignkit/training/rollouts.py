"""Draws, scores and prepares batches of samples for an online objective; each serves some optimizer steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alignkit.batch import REWARD_PART, Rollouts
from alignkit.data.loading import Dataset
from alignkit.data.order import steps_per_epoch
from alignkit.data.rows import Rows, batch_of
from alignkit.errors import UserError
from alignkit.example import Group
from alignkit.models.computing import compute_signals
from alignkit.models.roles import Roles
from alignkit.objective import OnlineObjective, overrides, sources_of, updates_per_batch
from alignkit.observer import ObservedRollouts
from alignkit.progress import Progress
from alignkit.rewards.scoring import Scorer, Scores
from alignkit.sampler import Sampler, Sampling
from alignkit.signals import POLICY
from alignkit.training.drawing import DrawnSamples, RoundDrawer
from alignkit.training.metrics import ACCEPTED, OPTIMIZED_REWARD, REWARDS
from alignkit.training.preparing import accepted, prepare
from alignkit.training.rollout_files import PreparedBatch, RolloutFiles, prepared_batch

ROUNDING = {torch.float32: 1e-3}
"""The mean difference of a log-probability that two ways of computing it may have, by the base's dtype."""
HALF_ROUNDING = 0.05
"""The same for the dtypes of 16 bits."""


class RolloutSource:
    """Groups of an online objective: batch k of rollouts serves the steps from k·epochs·minibatches on.

    A batch is made of `batch_size` of the `prompts`, which the `sampler` completes and the `scorer` scores.
    It is kept in `folder`; a run that was killed at any moment goes on with what is there. budget: tokens
    that are computed at once.
    """

    def __init__(
        self,
        objective: OnlineObjective,
        prompts: Dataset,
        sampler: Sampler,
        scorer: Scorer,
        roles: Roles,
        *,
        sampling: Sampling,
        folder: Path,
        seed: int,
        batch_size: int,
        budget: int,
        note: Callable[[str], None],
    ) -> None:
        self.objective, self.scorer, self.roles = objective, scorer, roles
        self.budget, self.note, self.seed, self.batch_size = budget, note, seed, batch_size
        self.files = RolloutFiles(folder)
        self.drawer = RoundDrawer(
            prompts,
            sampler,
            roles.base,
            sampling=sampling,
            sources=sources_of(objective),
            files=self.files,
            seed=seed,
            batch_size=batch_size,
        )
        self.sources = tuple(sources_of(objective))
        self.names = tuple(sorted(name for name in objective.reads if not roles.roles[name].trainable))
        self.updates = updates_per_batch(objective)
        self.steps_per_epoch = steps_per_epoch(len(prompts), batch_size) * self.updates
        self.steps = 1
        self.number = -1
        self.batch: PreparedBatch | None = None

    @property
    def groups(self) -> Sequence[Group]:
        """Return the groups of the present batch of rollouts."""
        return self._present.groups

    def open(self, steps: int, progress: Progress) -> None:
        """Remember the number of steps: each batch is drawn from the policy as it is then."""
        self.steps = steps

    def begin(self, step: int) -> dict[str, float]:
        """Make the step's batch of rollouts, or read it from disk; return its metrics at its first step."""
        number, update = divmod(step, self.updates)
        if number != self.number:
            self.number, self.batch = number, self.files.read_batch(number) or self._make(number)
            if update == 0:  # later steps have the state from their checkpoint
                self.objective.state.replace(self.batch.state)
        return self._present.metrics if update == 0 else {}

    def drawn(self, step: int) -> ObservedRollouts | None:
        """Return the batch of samples that step `step` was the first to use, as it is on disk."""
        number, update = divmod(step, self.updates)
        records, scores = self.files.read_samples(number), self.files.read_scores(number)
        if update > 0 or records is None or scores is None:
            return None
        return ObservedRollouts(
            self.objective.name,
            [record["prompt"] for record in records],
            [record["completions"] for record in records],
            scores.total,
            scores.each,
        )

    def indices(self, step: int) -> list[int]:
        """Return the minibatch of the step. Each epoch over the rollouts shuffles the prompts anew."""
        number, update = divmod(step, self.updates)
        epoch, part = divmod(update, self.objective.minibatches)
        order = np.random.default_rng([self.seed, number, epoch]).permutation(len(self.groups))
        return np.array_split(order, self.objective.minibatches)[part].tolist()

    def attach(self, rows: Rows, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return what was prepared and the frozen roles' signals, (N,) or (N, T), zero outside the mask."""
        rollouts, mask = self._present.rollouts, rows.batch.mask
        places = torch.cat([self._present.members[index] for index in indices])
        found = {}
        for name, value in {**rollouts.columns, **rollouts.signals}.items():
            part = value[places].to(mask.device)
            found[name] = part[:, : mask.shape[1]].masked_fill(~mask, 0) if part.ndim == 2 else part
        return found

    def forget_before(self, step: int) -> None:
        """Drop the tensors of batches that no later step uses."""
        self.files.forget_before(step // self.updates)

    @property
    def _present(self) -> PreparedBatch:
        if self.batch is None:
            raise RuntimeError("`begin` makes the batch of rollouts first")
        return self.batch

    def _make(self, number: int) -> PreparedBatch:
        """Make batch `number`: draw, score, accept, compute signals, prepare, write."""
        collected = self._collect(number)
        self.files.write_scores(number, collected.scores)
        rollouts = self._rollouts(collected.kept, number)
        metrics = dict(collected.metrics)
        if self.objective.rewarded:
            metrics[OPTIMIZED_REWARD] = _mean(rollouts.rewards)
        if len(rollouts):
            rollouts = self._with_signals(rollouts, collected.kept.groups)
            if "logps" in rollouts.signals:
                metrics["rollouts/sampler_difference"] = self._compare(rollouts, number)
            rollouts = prepare(self.objective, rollouts)
        batch = prepared_batch(rollouts, metrics, dict(self.objective.state))
        self.files.write_batch(number, batch)
        return batch

    def _collect(self, number: int) -> _Collected:
        """Draw and score rounds of prompts until enough of them are accepted."""
        began = time.perf_counter()
        if not overrides(self.objective, "accept"):
            samples = self.drawer.first_round(number)
            seconds = time.perf_counter() - began
            scores = self.scorer(samples.examples, samples.groups)
            kept = _with_a_score(samples, scores, self.scorer)
            if not kept.groups:
                raise UserError(
                    "the reward abstained from every sample",
                    where=str(self.files.folder),
                    hint="Check the reward.",
                )
            return _Collected(kept, scores, _metrics(samples, scores, seconds))
        return self._collect_accepted(number, began)

    def _collect_accepted(self, number: int, began: float) -> _Collected:
        """Do the same for an objective that refuses prompts: others are drawn in their place."""
        drawn, seconds = None, 0.0
        chosen: list[int] = []  # places among all prompts that were drawn
        for at in range(self.objective.max_rounds):
            began = time.perf_counter()
            samples = self.drawer.next_round(number, at, self.batch_size - len(chosen))
            seconds += time.perf_counter() - began
            if not len(samples):
                break
            scores = self.scorer(samples.examples, samples.groups)
            kept = _with_a_score(samples, scores, self.scorer)
            before = 0 if drawn is None else len(drawn.samples)
            if kept.groups:
                answers = accepted(self.objective, self._rollouts(kept, number), len(kept.groups))
                chosen += [before + place for place, yes in zip(kept.places, answers, strict=True) if yes]
            drawn = _Drawn(samples, scores) if drawn is None else drawn.with_(samples, scores)
            if len(chosen) == self.batch_size:
                break
        assert drawn is not None
        kept = _with_a_score(drawn.samples, drawn.scores, self.scorer).only(chosen)
        if len(chosen) < self.batch_size:
            self.note(
                f"batch {number + 1} has {len(chosen)} of {self.batch_size} prompts: {self.objective.name} "
                f"accepted no more of the {len(drawn.samples)} that were drawn"
            )
        metrics = _metrics(drawn.samples, drawn.scores, seconds)
        return _Collected(kept, drawn.scores, metrics | {ACCEPTED: len(chosen) / len(drawn.samples)})

    def _rollouts(self, kept: _Scored, number: int) -> Rollouts:
        """Return the rollouts with all that is known before any role is computed, on the CPU."""
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
            signals,
            batch.prompts if kept.groups else (),
            number * self.updates,
            self.steps,
            self.sources,
        )

    def _with_signals(self, rollouts: Rollouts, groups: Sequence[Group]) -> Rollouts:
        """Add every declared role's signals and, for `prepare`, the functions of the vocabulary."""
        names = sorted({*self.objective.trains, *self.objective.reads})
        entropy = self.objective.entropy
        functions = self.objective.over_vocabulary if overrides(self.objective, "prepare") else {}
        return rollouts.with_(
            **compute_signals(self.roles, groups, names, self.budget, entropy=entropy, functions=functions)
        )

    def _compare(self, rollouts: Rollouts, number: int) -> float:
        """Return the mean difference between the sampler's log-probabilities and the trainer's.

        The first batch shows a note if rounding cannot explain the difference.
        """
        own = torch.ones(len(rollouts), dtype=torch.bool)
        if len(self.sources) > 1:
            own = rollouts.sampled_from(POLICY)
        sampled = rollouts.mask & own[:, None]
        difference = _mean((rollouts.logps - rollouts.sampler_logps)[sampled].abs())
        allowed = ROUNDING.get(self.roles.base.dtype, HALF_ROUNDING)
        if number == 0 and not difference <= allowed:
            self.note(
                f"the sampler's log-probabilities differ from the trainer's by {difference:.2g} on average; "
                f"rounding explains at most {allowed:g}. The sampler uses another model than the trainer: "
                "try sampling.weights: quantized"
            )
        return difference


@dataclass(frozen=True)
class _Scored:
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

    def only(self, places: Sequence[int]) -> _Scored:
        """Return the prompts at these places alone."""
        wanted, kept, at = set(places), [], 0
        for place, group in zip(self.places, self.groups, strict=True):
            end = at + len(group.completions)
            kept += range(at, end) if place in wanted else ()
            at = end
        chosen = [(p, g) for p, g in zip(self.places, self.groups, strict=True) if p in wanted]
        return _Scored(
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

    samples: DrawnSamples
    scores: Scores

    def with_(self, samples: DrawnSamples, scores: Scores) -> _Drawn:
        """Add a round."""
        return _Drawn(self.samples + samples, self.scores + scores)


@dataclass(frozen=True)
class _Collected:
    """The samples of a batch that are used, the scores of all that were drawn, and what is reported."""

    kept: _Scored
    scores: Scores
    metrics: dict[str, float]


def _with_a_score(samples: DrawnSamples, scores: Scores, scorer: Scorer) -> _Scored:
    """Leave out samples of which a reward abstained."""
    names = [weighted.name for weighted in scorer.rewards]
    found = _Scored([], [], [], {name: [] for name in names}, None, [], [])
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
        "rollouts/seconds": seconds,
    }


def _per_token(rows: Sequence[Sequence[float]], width: int) -> Tensor:
    """Return numbers per token of each completion, padded with zeros to (N, width)."""
    found = torch.zeros(len(rows), width)
    for place, row in enumerate(rows):
        found[place, : len(row)] = torch.tensor(row)
    return found


def _mean(values: Tensor) -> float:
    return float(values.mean()) if values.numel() else 0.0
