"""Draws, scores and prepares batches of the policy's own samples; each serves some optimizer steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignkit.batch import Rollouts
from alignkit.data.loading import Dataset
from alignkit.data.order import step_indices, steps_per_epoch
from alignkit.data.rows import Rows, batch_of
from alignkit.errors import UserError
from alignkit.example import Example, Group
from alignkit.models.computing import compute_signals
from alignkit.models.roles import Roles
from alignkit.objective import OnlineObjective, updates_per_batch
from alignkit.observer import ObservedRollouts
from alignkit.progress import Progress
from alignkit.rewards.scoring import Scorer, Scores
from alignkit.sampler import Sampler, Sampling
from alignkit.sampling.decoding import decode
from alignkit.training.metrics import OPTIMIZED_REWARD, REWARDS
from alignkit.training.preparing import prepare
from alignkit.training.rollout_files import PreparedBatch, RolloutFiles, prepared_batch

ROUNDING = {torch.float32: 1e-3}
"""The mean difference of a log-probability that two ways of computing it may have, by the base's dtype."""
HALF_ROUNDING = 0.05
"""The same for the dtypes of 16 bits."""


@dataclass(frozen=True)
class DrawnBatch:
    """The samples of a batch by prompt, as text and as tokens, with the sampler's log-probabilities.

    logps: [prompt][sample], one number per token. seconds: the time to draw them, or to read them.
    """

    examples: list[Example]
    groups: list[Group]
    logps: list[list[list[float]]]
    seconds: float


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
        self.objective, self.prompts, self.sampler, self.scorer = objective, prompts, sampler, scorer
        self.roles, self.budget, self.note = roles, budget, note
        self.sampling = sampling
        self.files, self.seed, self.batch_size = RolloutFiles(folder), seed, batch_size
        self.names = tuple(sorted(name for name in objective.reads if not roles.roles[name].trainable))
        self.updates = updates_per_batch(objective)
        self.steps_per_epoch = steps_per_epoch(len(prompts), batch_size) * self.updates
        self.number = -1
        self.batch: PreparedBatch | None = None

    @property
    def groups(self) -> Sequence[Group]:
        """Return the groups of the present batch of rollouts."""
        return self._present.groups

    def open(self, steps: int, progress: Progress) -> None:
        """Do nothing: each batch is drawn from the policy as it is then."""

    def begin(self, step: int) -> dict[str, float]:
        """Make the step's batch of rollouts, or read it from disk; return its metrics at its first step."""
        number, update = divmod(step, self.updates)
        if number != self.number:
            self.number, self.batch = number, self.files.read_batch(number) or self._make(number)
            if update == 0:  # later steps have the state from their checkpoint
                self.objective.state.clear()
                self.objective.state.update(self.batch.state)
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
        """Make batch `number`: draw, decode, score, compute signals, prepare, write."""
        samples = self._draw(number)
        scores = self.scorer(samples.examples, samples.groups)
        self.files.write_scores(number, scores)
        kept = _with_a_score(samples, scores, self.files.folder)
        rollouts = self._with_signals(kept.groups, kept.rewards)
        metrics = _metrics(samples, scores, rollouts)
        if "logps" in rollouts.signals:
            metrics["rollouts/sampler_difference"] = self._compare(rollouts, kept.logps, number)
        prepared = prepare(self.objective, rollouts)
        prompts = [group.prompt for group in kept.groups]
        batch = prepared_batch(prepared, prompts, metrics, dict(self.objective.state))
        self.files.write_batch(number, batch)
        return batch

    def _draw(self, number: int) -> DrawnBatch:
        """Return the samples of the batch; those of a killed run are read from disk."""
        began = time.perf_counter()
        places = step_indices(self.seed, number, len(self.prompts), self.batch_size)
        records = self.files.read_samples(number)
        if records is None:
            records = self._sample(number, places)
            self.files.write_samples(number, records)
        pairs = list(zip(records, places, strict=True))
        return DrawnBatch(
            [_text_of(record, self.prompts.examples[place]) for record, place in pairs],
            [_tokens_of(record, self.prompts.groups[place]) for record, place in pairs],
            [record["logps"] for record in records],
            time.perf_counter() - began,
        )

    def _sample(self, number: int, places: list[int]) -> list[dict[str, Any]]:
        """Sample completions of the prompts at `places` and decode them, once."""
        examples = [self.prompts.examples[place] for place in places]
        groups = [self.prompts.groups[place] for place in places]
        settings = replace(self.sampling, step=number)
        tokens = [group.prompt for group in groups]
        drawn = self.sampler.sample("policy", tokens, settings, numbers=places)
        examples, groups = decode(self.roles.base, examples, groups, drawn)
        logps = [[sample.logps for sample in samples] for samples in drawn]
        return [_record(*parts) for parts in zip(examples, groups, logps, strict=True)]

    def _with_signals(self, groups: Sequence[Group], rewards: list[float]) -> Rollouts:
        """Return the rollouts with the rewards and every declared role's signals, on the CPU."""
        batch, _ = batch_of(groups)
        names = sorted({*self.objective.trains, *self.objective.reads})
        entropy = self.objective.entropy
        signals = compute_signals(self.roles, groups, names, self.budget, entropy=entropy)
        signals["rewards"] = torch.tensor(rewards, dtype=torch.float32)
        return Rollouts(batch.tokens, batch.mask, batch.group, batch.columns, signals)

    def _compare(self, rollouts: Rollouts, at_sampling: list[float], number: int) -> float:
        """Return the mean difference between the sampler's log-probabilities and the trainer's.

        The first batch shows a note if rounding cannot explain the difference.
        """
        difference = float((rollouts.logps[rollouts.mask] - torch.tensor(at_sampling)).abs().mean())
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
    """The samples that have a score; prompts without any are left out. logps: of all kept tokens."""

    groups: list[Group]
    rewards: list[float]
    logps: list[float]


def _with_a_score(samples: DrawnBatch, scores: Scores, where: Path) -> _Scored:
    """Leave out samples of which a reward abstained. Raises UserError where nothing is left."""
    groups, rewards, logps = [], [], []
    for group, of_prompt, totals in zip(samples.groups, samples.logps, scores.total, strict=True):
        kept = [place for place, total in enumerate(totals) if total is not None]
        if not kept:
            continue
        completions = tuple(group.completions[place] for place in kept)
        finished = tuple(group.columns["finished"][place] for place in kept)
        groups.append(Group(group.prompt, completions, {"finished": finished}))
        rewards += [total for total in totals if total is not None]
        logps += [logp for place in kept for logp in of_prompt[place]]
    if not groups:
        raise UserError("the reward abstained from every sample", where=str(where), hint="Check the reward.")
    return _Scored(groups, rewards, logps)


def _metrics(samples: DrawnBatch, scores: Scores, rollouts: Rollouts) -> dict[str, float]:
    lengths = [len(tokens) for group in samples.groups for tokens in group.completions]
    finished = [value for group in samples.groups for value in group.columns["finished"]]
    return {
        **{f"{REWARDS}{name}": mean for name, mean in scores.means().items()},
        OPTIMIZED_REWARD: float(rollouts.rewards.mean()),
        "rollouts/length": sum(lengths) / len(lengths),
        "rollouts/finished": sum(finished) / len(finished),
        "rollouts/abstained": 1 - len(rollouts) / len(lengths),
        "rollouts/seconds": samples.seconds,
    }


def _record(example: Example, group: Group, logps: list[list[float]]) -> dict[str, Any]:
    """Write a prompt's samples for people to read, and for a killed run to go on with."""
    return {
        "prompt": example.prompt,
        "completions": list(example.completions),
        "finished": [bool(value) for value in group.columns["finished"]],
        "tokens": list(group.completions),
        "logps": logps,
    }


def _text_of(record: dict[str, Any], prompt: Example) -> Example:
    finished = {"finished": tuple(map(float, record["finished"]))}
    return replace(prompt, completions=tuple(record["completions"]), columns=finished)


def _tokens_of(record: dict[str, Any], prompt: Group) -> Group:
    finished = {"finished": tuple(map(float, record["finished"]))}
    return replace(prompt, completions=tuple(record["tokens"]), columns=finished)
