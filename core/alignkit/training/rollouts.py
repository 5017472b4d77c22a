"""Draws, scores and prepares batches of samples for an online objective; each serves some optimizer steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alignkit.data.loading import Dataset
from alignkit.data.order import steps_per_epoch
from alignkit.data.own_columns import with_numbers_of_rows
from alignkit.data.rows import Rows
from alignkit.example import Group
from alignkit.models.computing import compute_signals
from alignkit.models.roles import Roles
from alignkit.objective import OnlineObjective, Prompts, overrides, sources_of, updates_per_batch
from alignkit.observer import ObservedRollouts
from alignkit.progress import Progress, ProgressOf, silent
from alignkit.rewards.scoring import Scorer
from alignkit.rollouts import Rollouts
from alignkit.sampler import Sampler, Sampling
from alignkit.signals import POLICY
from alignkit.training.collecting import Collector
from alignkit.training.drawing import RoundDrawer
from alignkit.training.metrics import OPTIMIZED_REWARD, SAMPLING_SECONDS
from alignkit.training.preparing import prepare
from alignkit.training.rollout_files import PreparedBatch, RolloutFiles, prepared_batch
from alignkit.training.sources import require_free_names

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
        progress: ProgressOf = silent,
    ) -> None:
        self.objective, self.roles = objective, roles
        self.budget, self.note, self.seed, self.batch_size = budget, note, seed, batch_size
        self.files, self.progress = RolloutFiles(folder), progress
        if not issubclass(objective.data, Prompts):
            prompts = replace(prompts, groups=with_numbers_of_rows(prompts.examples, prompts.groups))
        require_free_names(objective, prompts.groups)
        self.drawer = RoundDrawer(
            prompts,
            sampler,
            roles.base,
            sampling=sampling,
            sources=sources_of(objective),
            under={name: role.prompt for name, role in roles.roles.items() if role.prompt is not None},
            files=self.files,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
        )
        self.sources = tuple(sources_of(objective))
        self.absent = prompts.report.left_out
        self.names = tuple(sorted(name for name in objective.reads if not roles.roles[name].trainable))
        self.updates = updates_per_batch(objective)
        self.collector = Collector(objective, self.drawer, scorer, updates=self.updates, note=note)
        self.steps_per_epoch = steps_per_epoch(len(prompts), batch_size) * self.updates
        self.steps = 1
        self.number = -1
        self.batch: PreparedBatch | None = None
        self.drawn_in: float | None = None

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
        self.drawn_in = None
        if number != self.number:
            began, found = time.perf_counter(), self.files.read_batch(number)
            self.number, self.batch = number, found or self._make(number)
            # of a batch that an earlier process made, it is known what sampling took, the most of it
            earlier = self.batch.metrics.get(SAMPLING_SECONDS) if update == 0 else None
            self.drawn_in = time.perf_counter() - began if found is None else earlier
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

    def samples(self, step: int) -> Sequence[Group]:
        """Return the first samples that step `step` learned from, as they are on disk."""
        return self.drawer.first_round(step // self.updates).groups

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
        for name, value in rollouts.signals.items():
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
        collected = self.collector.collect(number, self.steps)
        self.files.write_scores(number, collected.scores)
        rollouts = self.collector.rollouts(collected.kept, number, self.steps)
        metrics = dict(collected.metrics)
        if self.objective.rewarded:
            metrics[OPTIMIZED_REWARD] = _mean(rollouts.rewards)
        if len(rollouts):
            rollouts = self._with_signals(rollouts, collected.kept.groups)
            if POLICY in self.sources and rollouts.sampled_from(POLICY).any():
                metrics["rollouts/sampler_difference"] = self._compare(rollouts, number)
            rollouts = prepare(self.objective, rollouts)
        batch = prepared_batch(rollouts, metrics, dict(self.objective.state))
        self.files.write_batch(number, batch)
        return batch

    def _with_signals(self, rollouts: Rollouts, groups: Sequence[Group]) -> Rollouts:
        """Add every declared role's signals and, for `prepare`, the functions of the vocabulary."""
        names = sorted({*self.objective.trains, *self.objective.reads})
        entropy = self.objective.entropy
        functions = self.objective.over_vocabulary if overrides(self.objective, "prepare") else {}
        return rollouts.with_(
            **compute_signals(
                self.roles,
                groups,
                names,
                self.budget,
                entropy=entropy,
                functions=functions,
                progress=self.progress("log-probabilities of the samples"),
            )
        )

    def _compare(self, rollouts: Rollouts, number: int) -> float:
        """Return the mean difference between the sampler's log-probabilities of the policy and the trainer's.

        Only completions that the policy wrote have such numbers of both. The first batch shows a note if
        rounding cannot explain the difference.
        """
        sampled = rollouts.mask & rollouts.sampled_from(POLICY)[:, None]
        difference = _mean((rollouts.logps - rollouts.sampler_logps)[sampled].abs())
        allowed = ROUNDING.get(self.roles.base.dtype, HALF_ROUNDING)
        if number == 0 and not difference <= allowed:
            self.note(
                f"the sampler's log-probabilities differ from the trainer's by {difference:.2g} on average; "
                f"rounding explains at most {allowed:g}. The sampler uses another model than the trainer: "
                "try sampling.weights: quantized"
            )
        return difference


def _mean(values: Tensor) -> float:
    return float(values.mean()) if values.numel() else 0.0
