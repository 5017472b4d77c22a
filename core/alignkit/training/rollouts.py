"""Rollouts: each batch of the policy's samples is drawn, scored and prepared once, kept on disk, and trained
on for some steps.

A batch goes through three phases: samples (kept as readable lines), rewards and signals as they are at
sampling, and the objective's `prepare` (kept as tensors). A run that is killed in any of them goes on with
what is on disk; nothing is sampled twice.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from alignkit.batch import Rollouts
from alignkit.data.order import step_indices
from alignkit.data.rows import Rows, batch_of
from alignkit.errors import UserError
from alignkit.example import Group
from alignkit.models.frozen import PER_COMPLETION, signals_by_group
from alignkit.models.roles import Roles
from alignkit.objective import OnlineObjective
from alignkit.rewards.scoring import Scores
from alignkit.run.checkpoint import require_numbers
from alignkit.run.files import STATE, TENSORS, find_damage, write_text, write_verified
from alignkit.sampler import Drawn

AT_SAMPLING = {"policy": ("logps", "entropy"), "value": ("values",), "reward": ("scores",)}
# mean difference of a log-probability that two ways of computing it may have
ROUNDING = {torch.float32: 1e-3}
HALF_ROUNDING = 0.05


class Draw(Protocol):
    """What a batch of rollouts needs of its stage. `prompts` are places in the term's groups."""

    def sample(self, prompts: Sequence[int], step: int, per_prompt: int) -> list[list[Drawn]]:
        """Completions of each prompt."""
        ...

    def score(self, prompts: Sequence[int], drawn: list[list[Drawn]]) -> Scores:
        """The rewards of the completions."""
        ...

    def lines(self, prompts: Sequence[int], drawn: list[list[Drawn]]) -> list[dict[str, Any]]:
        """The samples for people to read, one line a prompt."""
        ...


@dataclass(frozen=True)
class Prepared:
    """Rollouts as `loss` gets them: the groups, and for each group the places of its completions in the
    tensors.
    """

    rollouts: Rollouts
    groups: tuple[Group, ...]
    members: tuple[Tensor, ...]
    metrics: dict[str, float]
    state: dict[str, float]


class RolloutSource:
    """Groups of an online objective: batch k of rollouts serves the steps k·epochs·minibatches and on."""

    def __init__(
        self,
        objective: OnlineObjective,
        prompts: Sequence[Group],
        draw: Draw,
        roles: Roles,
        *,
        folder: Path,
        seed: int,
        batch_size: int,
        budget: int,
        note: Callable[[str], None],
    ) -> None:
        self.objective, self.prompts, self.draw, self.roles = objective, prompts, draw, roles
        self.folder, self.seed, self.batch_size, self.budget, self.note = (
            folder,
            seed,
            batch_size,
            budget,
            note,
        )
        self.names = tuple(sorted(name for name in objective.reads if not roles.roles[name].trainable))
        self.updates = objective.epochs * objective.minibatches
        self.number = -1
        self.batch: Prepared | None = None

    @property
    def groups(self) -> Sequence[Group]:
        """The groups of the present batch of rollouts."""
        assert self.batch is not None
        return self.batch.groups

    def open(self, steps: int, show: Callable[[int, int], None]) -> None:
        """Nothing."""

    def begin(self, step: int) -> dict[str, float]:
        """Draw and prepare the step's batch of rollouts, or read it from disk; returns its metrics at its
        first step.
        """
        number, update = divmod(step, self.updates)
        if number != self.number:
            self.number, self.batch = number, self._read(number) or self._make(number)
            if update == 0:  # later steps have the state from their checkpoint
                self.objective.state.clear()
                self.objective.state.update(self.batch.state)
        assert self.batch is not None
        return self.batch.metrics if update == 0 else {}

    def indices(self, step: int) -> list[int]:
        """The minibatch of the step: in each epoch over the rollouts the prompts are shuffled anew."""
        number, update = divmod(step, self.updates)
        epoch, part = divmod(update, self.objective.minibatches)
        order = np.random.default_rng([self.seed, number, epoch]).permutation(len(self.groups))
        return np.array_split(order, self.objective.minibatches)[part].tolist()

    def attach(self, rows: Rows, indices: Sequence[int]) -> dict[str, Tensor]:
        """What was prepared, (N,) or (N, T), and the frozen roles' signals."""
        assert self.batch is not None
        rollouts, device = self.batch.rollouts, rows.slot.device
        places = torch.cat([self.batch.members[index] for index in indices])
        inside = rollouts.mask[places]
        return {
            name: rows.scatter(value[places][inside].to(device))
            if value.ndim == 2
            else value[places].to(device)
            for name, value in {**rollouts.columns, **rollouts.signals}.items()
        }

    def forget_before(self, step: int) -> None:
        """Drop the tensors of finished batches; their samples stay for people to read."""
        for place in self.folder.glob("*/"):
            if place.name.isdigit() and int(place.name) < step // self.updates:
                shutil.rmtree(place)

    def _make(self, number: int) -> Prepared:
        began = time.perf_counter()
        prompts = step_indices(self.seed, number, len(self.prompts), self.batch_size)
        drawn = self._sampled(number, prompts)
        seconds = time.perf_counter() - began
        scores = self.draw.score(prompts, drawn)
        keep = [[k for k, total in enumerate(totals) if total is not None] for totals in scores.total]
        groups = [
            Group(
                self.prompts[prompt].prompt,
                tuple(samples[k].tokens for k in kept),
                {"finished": tuple(float(samples[k].finished) for k in kept)},
            )
            for prompt, samples, kept in zip(prompts, drawn, keep, strict=True)
            if kept
        ]
        if not groups:
            raise UserError(
                "the reward abstained from every sample", where=str(self.folder), hint="Check the reward."
            )
        rollouts = self._with_signals(
            groups, [total for totals in scores.total for total in totals if total is not None]
        )
        metrics = {f"rewards/{name}": mean for name, mean in scores.means().items()}
        flat = [sample for samples in drawn for sample in samples]
        metrics |= {
            "rollouts/reward": float(rollouts.rewards.mean()),
            "rollouts/length": sum(len(sample.tokens) for sample in flat) / len(flat),
            "rollouts/finished": sum(sample.finished for sample in flat) / len(flat),
            "rollouts/abstained": 1 - len(rollouts) / len(flat),
            "rollouts/seconds": seconds,
        }
        at_sampling = [
            logp for samples, kept in zip(drawn, keep, strict=True) for k in kept for logp in samples[k].logps
        ]
        if "logps" in rollouts.signals:
            metrics["rollouts/sampler_difference"] = self._compare(rollouts, at_sampling, number)
        with torch.no_grad():
            prepared = self.objective.prepare(rollouts)
        check_prepared(self.objective, prepared)
        require_numbers(self.objective.state, f"objective {self.objective.name!r}")
        batch = _grouped(
            Rollouts(
                prepared.tokens,
                prepared.mask,
                prepared.group,
                prepared.columns,
                lasting(self.objective, prepared),
            ),
            [group.prompt for group in groups],
            metrics,
            dict(self.objective.state),
        )
        self._write(number, batch, [group.prompt for group in groups])
        return batch

    def _sampled(self, number: int, prompts: list[int]) -> list[list[Drawn]]:
        """The batch's samples, from disk where a killed run left them."""
        file = self.folder / f"{number:06d}.jsonl"
        if file.is_file():
            # a text may hold what `splitlines` takes for the end of a line
            with file.open(encoding="utf-8") as lines:
                records = [json.loads(line) for line in lines]
            return [
                [Drawn(*sample) for sample in zip(r["tokens"], r["logps"], r["finished"], strict=True)]
                for r in records
            ]
        drawn = self.draw.sample(prompts, number, self.objective.samples_per_prompt)
        lines = [
            {
                **line,
                "finished": [sample.finished for sample in samples],
                "tokens": [sample.tokens for sample in samples],
                "logps": [sample.logps for sample in samples],
            }
            for line, samples in zip(self.draw.lines(prompts, drawn), drawn, strict=True)
        ]
        write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        return drawn

    def _with_signals(self, groups: Sequence[Group], rewards: list[float]) -> Rollouts:
        """The rollouts with the rewards and every declared role's signals, on the CPU."""
        batch, slot = batch_of(groups)
        signals: dict[str, Tensor] = {"rewards": torch.tensor(rewards, dtype=torch.float32)}
        names = sorted(set(self.objective.trains) | set(self.objective.reads))
        found = signals_by_group(
            self.roles, groups, range(len(groups)), names, self.budget, entropy=self.objective.entropy
        )
        for name, values in found.items():
            flat = torch.cat([values[index] for index in range(len(groups))])
            per_token = name not in PER_COMPLETION
            signals[name] = (
                torch.zeros(batch.mask.numel()).scatter(0, slot, flat).view(batch.mask.shape)
                if per_token
                else flat
            )
        return Rollouts(batch.tokens, batch.mask, batch.group, batch.columns, signals)

    def _compare(self, rollouts: Rollouts, at_sampling: list[float], number: int) -> float:
        """The mean difference between the sampler's log-probabilities and the trainer's; told at the first
        batch if beyond rounding.
        """
        difference = float((rollouts.logps[rollouts.mask] - torch.tensor(at_sampling)).abs().mean())
        allowed = ROUNDING.get(self.roles.base.dtype, HALF_ROUNDING)
        if number == 0 and not difference <= allowed:
            self.note(
                f"the sampler's log-probabilities differ from the trainer's by {difference:.2g} on average, "
                f"rounding explains {allowed:g}: "
                "it samples from another model than is trained; try sampling.weights: quantized"
            )
        return difference

    def _write(self, number: int, batch: Prepared, prompts: list[list[int]]) -> None:
        rollouts = batch.rollouts
        tensors = {"tokens": rollouts.tokens, "mask": rollouts.mask, "group": rollouts.group}
        tensors |= {f"signal/{name}": value for name, value in rollouts.signals.items()}
        tensors |= {f"column/{name}": value for name, value in rollouts.columns.items()}
        about = {"prompts": prompts, "metrics": batch.metrics, "state": batch.state}

        def write(place: Path) -> None:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, place / TENSORS)
            (place / STATE).write_text(json.dumps(about))

        write_verified(self.folder / f"{number:06d}", write)

    def _read(self, number: int) -> Prepared | None:
        place = self.folder / f"{number:06d}"
        if not place.exists():
            return None
        damage = find_damage(place)
        if damage:  # its log-probabilities are those of the weights at sampling, which may be gone
            hint = (
                "Move the stage's folder away and run the same command: the stage is done again from its "
                "beginning."
            )
            raise UserError(f"these rollouts are damaged: {damage}", where=str(place), hint=hint)
        tensors, about = load_file(place / TENSORS), json.loads((place / STATE).read_text())
        named = {
            kind: {k.removeprefix(kind): v for k, v in tensors.items() if k.startswith(kind)}
            for kind in ("signal/", "column/")
        }
        rollouts = Rollouts(
            tensors["tokens"], tensors["mask"], tensors["group"], named["column/"], named["signal/"]
        )
        return _grouped(rollouts, about["prompts"], about["metrics"], about["state"])


def check_prepared(objective: OnlineObjective, prepared: Any) -> None:
    """Refuse what `prepare` returned unless it is rollouts with finite tensors, (N,) or (N, T)."""
    name = objective.name
    if not isinstance(prepared, Rollouts):
        found = type(prepared).__name__
        raise UserError(
            f"`prepare` of {name} must return rollouts, found {found}",
            hint="Return rollouts.with_(…) or .select(…).",
        )
    for key, value in prepared.signals.items():
        if value.shape not in (prepared.mask.shape, prepared.mask.shape[:1]):
            expected = f"{tuple(prepared.mask.shape)} or {tuple(prepared.mask.shape[:1])}"
            raise UserError(
                f"`prepare` of {name} gave {key} the shape {tuple(value.shape)}, expected {expected}"
            )
        if not torch.isfinite(value.float()).all():
            raise UserError(
                f"`prepare` of {name} gave a {key} that is not finite", hint="Nothing was updated by it."
            )


def lasting(objective: OnlineObjective, prepared: Rollouts) -> dict[str, Tensor]:
    """What `loss` finds as it was at sampling: all but the signals that trained roles compute anew; `logps`
    as `old_logps`.
    """
    trained = [
        signal for role in objective.trains for signal in AT_SAMPLING.get(role, ()) if signal != "logps"
    ]
    return {
        ("old_logps" if name == "logps" else name): value
        for name, value in prepared.signals.items()
        if name not in trained
    }


def _grouped(
    rollouts: Rollouts, prompts: list[list[int]], metrics: dict[str, float], state: dict[str, float]
) -> Prepared:
    """The rollouts by prompt; prompts of which `prepare` kept nothing are gone. `rollouts.group` counts
    `prompts`.
    """
    groups, members = [], []
    for number in rollouts.group.unique().tolist():
        places = (rollouts.group == number).nonzero().squeeze(1)
        completions = tuple(rollouts.tokens[place][rollouts.mask[place]].tolist() for place in places)
        groups.append(Group(prompts[number], completions))
        members.append(places)
    return Prepared(rollouts, tuple(groups), tuple(members), metrics, state)
