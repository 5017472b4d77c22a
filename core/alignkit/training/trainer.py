"""The one training loop: every objective, alone or in a mixture, on fixed data or on its own samples."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from alignkit.data.baselines import length_only_accuracy
from alignkit.data.order import micro_batches, steps_per_epoch
from alignkit.errors import UserError
from alignkit.example import Group
from alignkit.models.frozen import FrozenSignals
from alignkit.models.roles import Roles
from alignkit.objective import Loss, Objective, OnlineObjective, updates_per_batch
from alignkit.recipe import Training
from alignkit.run.checkpoint import Checkpoint, latest_checkpoint, require_numbers, save_checkpoint
from alignkit.run.metrics import MetricsFile
from alignkit.training.averages import Averages
from alignkit.training.gradient import StepGradient
from alignkit.training.optimization import (
    learning_rate,
    load_optimizer_state,
    make_optimizer,
    optimizer_state,
)
from alignkit.training.rollouts import Draw, RolloutSource
from alignkit.training.sources import FixedSource, Source

# keeps float16 gradients of activations above underflow; divided out with the weight
HALF_LOSS_SCALE = 1024.0


class Display(Protocol):
    """What the loop shows; `alignkit.display` has the terminal's."""

    def note(self, text: str) -> None:
        """A line that stays."""
        ...

    def advance(self, task: str, done: int, total: int, values: dict[str, float]) -> None:
        """Progress of a task, with its newest numbers."""
        ...


@dataclass(frozen=True)
class TrainingTerm:
    """One objective of the stage, its weight in the sum, and its groups, for training and held out.

    draw: for an online objective, what samples completions of the groups, which are prompts, and scores them.
    """

    objective: Objective
    weight: float
    groups: Sequence[Group]
    held_out: Sequence[Group] = ()
    draw: Draw | None = None


class Interrupted(Exception):
    """SIGTERM came; the checkpoint is written."""


class Trainer:
    """Trains the roles' trainable parameters on the weighted sum of the terms; a function of its arguments
    and the seed.
    """

    def __init__(
        self,
        roles: Roles,
        terms: Sequence[TrainingTerm],
        settings: Training,
        *,
        seed: int,
        folder: Path,
        display: Display,
        track: Callable[[int, dict[str, float]], None] = lambda step, values: None,
    ) -> None:
        self.roles, self.terms, self.settings, self.seed = roles, terms, settings, seed
        self.folder, self.display, self.track = folder, display, track
        self.parameters = roles.trainable()
        self.optimizer = make_optimizer(list(self.parameters.values()), settings)
        self.loss_scale = HALF_LOSS_SCALE if roles.base.dtype == torch.float16 else 1.0
        self.sources = [self._source(term, f"train-{number}") for number, term in enumerate(terms)]
        self.held_out = [
            self._fixed(term, term.held_out, f"held-out-{number}") for number, term in enumerate(terms)
        ]
        once = steps_per_epoch(len(terms[0].groups), settings.batch_size) * updates_per_batch(
            terms[0].objective
        )
        self.steps = settings.steps or math.ceil(settings.epochs * once)
        self.save_every = settings.save_every or max(10, self.steps // 10)

    def _source(self, term: TrainingTerm, name: str) -> Source:
        if not isinstance(term.objective, OnlineObjective):
            return self._fixed(term, term.groups, name)
        assert term.draw is not None, "an online objective needs something to draw samples with"
        return RolloutSource(
            term.objective,
            term.groups,
            term.draw,
            self.roles,
            folder=self.folder / "rollouts" / term.objective.name,
            seed=self.seed,
            batch_size=self.settings.batch_size,
            budget=2 * self.settings.micro_batch_tokens,
            note=self.display.note,
        )

    def _fixed(self, term: TrainingTerm, groups: Sequence[Group], name: str) -> FixedSource:
        frozen = sorted(role for role in term.objective.reads if not self.roles.roles[role].trainable)
        cache = FrozenSignals(
            self.folder / "signals" / name,
            self.roles,
            frozen,
            groups,
            2 * self.settings.micro_batch_tokens,
            self.display.note,
        )
        return FixedSource(groups, cache, self.seed, self.settings.batch_size)

    def run(self) -> dict[str, float]:
        """Train from the newest checkpoint, or from the start, to the end; returns the last held-out
        metrics.
        """
        start, held_out = self._resume()
        self._open_sources()
        metrics = MetricsFile(self.folder / "metrics.jsonl", start)
        with _sigterm() as interrupted:
            for step in range(start, self.steps):
                began = time.perf_counter()
                values, tokens = self._step(step)
                values |= {
                    "tokens_per_second": tokens / (time.perf_counter() - began),
                    "memory_gb": memory_gb(self.roles.base.device),
                }
                done = step + 1
                if self._is_due(self.settings.evaluate_every, done) and any(
                    term.held_out for term in self.terms
                ):
                    held_out = self.evaluate()
                    values |= held_out
                metrics.write(done, values)
                self.track(done, values)
                self.display.advance("train", done, self.steps, values)
                stop = interrupted()
                if done % self.save_every == 0 or done == self.steps or stop:
                    self._save(done, held_out)
                if stop:
                    raise Interrupted
            # while the last checkpoint was written: the stages after this one are not begun
            if interrupted():
                raise Interrupted
        return held_out

    def _is_due(self, every: int | None, done: int) -> bool:
        return done == self.steps or (every is not None and done % every == 0)

    def _step(self, step: int) -> tuple[dict[str, float], int]:
        """One optimizer step; returns its metrics and the tree tokens it processed."""
        averages, tokens, begun, counted = Averages(), 0, {}, 0.0
        gradient = StepGradient(self.parameters)
        for term, source in zip(self.terms, self.sources, strict=True):
            begun |= {f"{self._prefix(term)}{name}": value for name, value in source.begin(step).items()}
            # Dropout: a function of the step, so resuming needs no random state.
            torch.manual_seed((self.seed * 1_000_003 + step) % 2**63)
            weight = 0.0
            # each trained role holds activations of its own
            budget = self.settings.micro_batch_tokens // len(term.objective.trains)
            for part in micro_batches(source.groups, source.indices(step), budget):
                loss = self._loss(term.objective, source, part)
                total, share = loss.total()
                self._require_finite(float(total.detach()), f"the loss of {term.objective.name}", step)
                if total.requires_grad:
                    (total * self.loss_scale).backward()
                weight += share
                averages.add_loss(loss, self._prefix(term))
                tokens += sum(source.groups[index].tokens for index in part)
            gradient.close_term(term.weight / self.loss_scale, weight)
            counted += weight
        norm = gradient.finish(self.settings.max_grad_norm)
        self._require_finite(norm, "the gradient", step)
        rate = learning_rate(self.settings, step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if counted > 0:  # an objective may keep none of its samples: then there is nothing to learn from
            self.optimizer.step()
            size = float(nn.utils.get_total_norm(list(self.parameters.values())))
            self._require_finite(size, "the norm of the weights", step, "this step is not saved")
        values = averages.means()
        return {**begun, **values, "learning_rate": rate, "grad_norm": norm}, tokens

    def _loss(self, objective: Objective, source: Source, part: list[int]) -> Loss:
        rows = self.roles.rows([source.groups[index] for index in part]).to(self.roles.base.device)
        signals = source.attach(rows, part)
        for name in sorted((set(objective.trains) | set(objective.reads)) - set(source.names)):
            signals |= self.roles.signals(name, rows, entropy=objective.entropy and name == "policy")
        return objective.loss(rows.batch.with_(**signals))

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Loss and metrics on the held-out groups, as `held_out/…`; for ranked data with the length-only
        baseline beside them.
        """
        averages = Averages()
        with self.roles.without_dropout():
            for term, source in zip(self.terms, self.held_out, strict=True):
                for part in micro_batches(
                    source.groups, range(len(source.groups)), 2 * self.settings.micro_batch_tokens
                ):
                    averages.add_loss(self._loss(term.objective, source, part), self._prefix(term))
        values = {f"held_out/{name}": value for name, value in averages.means().items()}
        baseline = length_only_accuracy(self.terms[0].held_out)
        return values if baseline is None else {**values, "held_out/length_only_accuracy": baseline}

    def _prefix(self, term: TrainingTerm) -> str:
        return f"{term.objective.name}/" if len(self.terms) > 1 else ""

    def _open_sources(self) -> None:
        def show(task: str) -> Callable[[int, int], None]:
            return lambda done, total: self.display.advance(task, done, total, {})

        for source, held_out in zip(self.sources, self.held_out, strict=True):
            source.open(self.steps, show("reference"))
            held_out.open(
                steps_per_epoch(len(held_out.groups), self.settings.batch_size), show("held-out reference")
            )

    def _require_finite(
        self, value: float, what: str, step: int, outcome: str = "the weights were not touched by it"
    ) -> None:
        if not math.isfinite(value):
            raise UserError(
                f"{what} is {value} at step {step + 1}; {outcome}",
                where=str(self.folder),
                hint="Lower learning_rate, or compute in another model.dtype; the same command goes on from "
                "the last checkpoint.",
            )

    def _save(self, step: int, held_out: dict[str, float]) -> None:
        for term in self.terms:
            require_numbers(term.objective.state, f"objective {term.objective.name!r}")
        tensors = {
            f"weights/{name}": parameter.detach().cpu().contiguous()
            for name, parameter in self.parameters.items()
        }
        moments, numbers = optimizer_state(self.optimizer)
        tensors |= {f"optimizer/{name}": tensor for name, tensor in moments.items()}
        state = {
            "optimizer": numbers,
            "held_out": held_out,
            "objectives": [term.objective.state for term in self.terms],
        }
        kept = save_checkpoint(
            self.folder / "checkpoints", Checkpoint(step, tensors, state), self.settings.keep_checkpoints
        )
        for source in self.sources:
            source.forget_before(kept)

    def _resume(self) -> tuple[int, dict[str, float]]:
        checkpoint = latest_checkpoint(self.folder / "checkpoints", self.display.note)
        if checkpoint is None:
            return 0, {}
        for name, parameter in self.parameters.items():
            parameter.data.copy_(checkpoint.tensors[f"weights/{name}"])
        moments = {
            name.removeprefix("optimizer/"): t
            for name, t in checkpoint.tensors.items()
            if name.startswith("optimizer/")
        }
        load_optimizer_state(self.optimizer, moments, checkpoint.state["optimizer"])
        for term, state in zip(self.terms, checkpoint.state["objectives"], strict=True):
            term.objective.state.update(state)
        self.display.note(f"resuming after step {checkpoint.step} of {self.steps}")
        return checkpoint.step, checkpoint.state["held_out"]


def memory_gb(device: torch.device) -> float:
    """Peak memory so far in GB: of the CUDA device, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@contextmanager
def _sigterm() -> Iterator[Callable[[], bool]]:
    """Note SIGTERM instead of dying of it, so that the step in progress ends and is saved."""
    received: list[int] = []
    try:
        before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    except ValueError:  # not the main thread: whoever runs it there handles signals
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)
