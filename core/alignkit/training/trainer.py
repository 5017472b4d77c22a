"""The one training loop: every objective, alone or in a mixture, on fixed data or on its own samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from alignkit.data.order import micro_batches
from alignkit.errors import UserError
from alignkit.models.computing import forward_budget, role_signals
from alignkit.models.roles import Roles
from alignkit.objective import Loss, Objective
from alignkit.progress import Display, Progress
from alignkit.recipe import Training
from alignkit.run.folder import StageFolder
from alignkit.run.metrics import MetricsFile
from alignkit.training.averages import Averages
from alignkit.training.gradient import StepGradient
from alignkit.training.interruption import Interrupted, sigterm_noted
from alignkit.training.metrics import GRAD_NORM, HELD_OUT, LEARNING_RATE, MEMORY, SPEED, prefix_of
from alignkit.training.optimization import learning_rate, make_optimizer
from alignkit.training.resuming import resume_training, save_training
from alignkit.training.sources import FixedSource, Source

HALF_LOSS_SCALE = 1024.0
"""Keeps float16 gradients of activations above underflow; it is divided out with the weight."""

SEED_STRIDE = 1_000_003
"""A prime above the number of steps of a stage: no two seeds share the random numbers of a step."""

Track = Callable[[int, Mapping[str, float]], None]
"""Takes a step and its metrics."""


@dataclass(frozen=True)
class TrainingTerm:
    """One objective of a stage, its weight in the sum, and where its groups come from.

    held_out: groups that are measured and not trained on. baselines: numbers that stand beside the held-out
    metrics, because they tell how good those are.
    """

    objective: Objective
    weight: float
    source: Source
    held_out: FixedSource | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StepOutcome:
    """What one optimizer step reports. tokens: those of the prefix trees that it trained on."""

    metrics: dict[str, float]
    tokens: int


class Trainer:
    """Trains the roles' trainable parameters on the weighted sum of the terms.

    The result is a function of its parts and the seed. `run` does a whole stage; `open`, then `step` for each
    number from 0, do the same work without files.
    """

    roles: Roles
    terms: Sequence[TrainingTerm]
    settings: Training
    folder: StageFolder
    display: Display
    track: Track
    seed: int
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    steps: int
    save_every: int
    loss_scale: float

    def __init__(
        self,
        roles: Roles,
        terms: Sequence[TrainingTerm],
        settings: Training,
        *,
        folder: StageFolder,
        display: Display,
        seed: int,
        track: Track = lambda step, values: None,
    ) -> None:
        self.roles, self.terms, self.settings = roles, terms, settings
        self.folder, self.display, self.track, self.seed = folder, display, track, seed
        self.parameters = roles.trainable()
        self.optimizer = make_optimizer(list(self.parameters.values()), settings)
        self.steps = settings.steps or math.ceil(settings.epochs * terms[0].source.steps_per_epoch)
        self.save_every = settings.save_every or max(10, self.steps // 10)
        self.loss_scale = HALF_LOSS_SCALE if roles.base.dtype == torch.float16 else 1.0

    def run(self) -> dict[str, float]:
        """Train from the newest checkpoint, or from the start, to the end; return the last held-out metrics.

        Raises Interrupted after a checkpoint is written, where SIGTERM came.
        """
        start, held_out = self._resume()
        self.open()
        metrics = MetricsFile(self.folder.metrics, start)
        with sigterm_noted() as interrupted:
            for number in range(start, self.steps):
                began = time.perf_counter()
                outcome = self.step(number)
                seconds = time.perf_counter() - began
                values = {
                    **outcome.metrics,
                    SPEED: outcome.tokens / seconds,
                    MEMORY: memory_gb(self.roles.base.device),
                }
                done = number + 1
                if self._evaluates_after(done):
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
            if interrupted():  # while the last checkpoint was written: later stages are not begun
                raise Interrupted
        return held_out

    def open(self) -> None:
        """Compute what the sources need once, before the first step."""
        for term in self.terms:
            term.source.open(self.steps, self._progress("reference"))
            if term.held_out is not None:
                term.held_out.open(term.held_out.steps_per_epoch, self._progress("held-out reference"))

    def step(self, number: int) -> StepOutcome:
        """Do optimizer step `number`, counted from 0.

        Raises UserError, before the weights change, where the loss or its gradient is not finite.
        """
        averages, tokens, begun, counted = Averages(), 0, {}, 0.0
        gradient = StepGradient(self.parameters)
        for term in self.terms:
            prefix = prefix_of(term.objective, len(self.terms))
            begun |= {f"{prefix}{name}": value for name, value in term.source.begin(number).items()}
            # Dropout is a function of the step, so that resuming needs no random state.
            torch.manual_seed((self.seed * SEED_STRIDE + number) % 2**63)
            weight = 0.0
            # Each trained role holds activations of its own.
            budget = self.settings.micro_batch_tokens // len(term.objective.trains)
            for part in micro_batches(term.source.groups, term.source.indices(number), budget):
                loss = self._loss(term.objective, term.source, part)
                total, share = loss.total()
                self._require_finite(float(total.detach()), f"the loss of {term.objective.name}", number)
                if total.requires_grad:
                    (total * self.loss_scale).backward()
                weight += share
                averages.add_loss(loss, prefix)
                tokens += sum(term.source.groups[index].tokens for index in part)
            gradient.close_term(term.weight / self.loss_scale, weight)
            counted += weight
        norm = gradient.finish(self.settings.max_grad_norm)
        self._require_finite(norm, "the gradient", number)
        rate = learning_rate(self.settings, number, self.steps)
        if counted > 0:  # an objective may keep none of its samples: then there is nothing to learn from
            self._update(rate, number)
        return StepOutcome({**begun, **averages.means(), LEARNING_RATE: rate, GRAD_NORM: norm}, tokens)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return loss and metrics on the held-out groups, and the terms' baselines, as `held_out/…`."""
        averages, baselines = Averages(), {}
        budget = forward_budget(self.settings.micro_batch_tokens)
        with self.roles.without_dropout():
            for term in self.terms:
                if term.held_out is None:
                    continue
                prefix, groups = prefix_of(term.objective, len(self.terms)), term.held_out.groups
                for part in micro_batches(groups, range(len(groups)), budget):
                    averages.add_loss(self._loss(term.objective, term.held_out, part), prefix)
                baselines |= term.baselines
        return {f"{HELD_OUT}{name}": value for name, value in {**averages.means(), **baselines}.items()}

    def _loss(self, objective: Objective, source: Source, part: list[int]) -> Loss:
        rows = self.roles.rows([source.groups[index] for index in part]).to(self.roles.base.device)
        signals = source.attach(rows, part)
        for name in sorted({*objective.trains, *objective.reads} - set(source.names)):
            signals |= role_signals(self.roles, name, rows, entropy=objective.entropy)
        return objective.loss(rows.batch.with_(**signals))

    def _update(self, rate: float, number: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        size = float(nn.utils.get_total_norm(list(self.parameters.values())))
        self._require_finite(size, "the norm of the weights", number, "this step is not saved")

    def _evaluates_after(self, done: int) -> bool:
        if all(term.held_out is None for term in self.terms):
            return False
        every = self.settings.evaluate_every
        return done == self.steps or (every is not None and done % every == 0)

    def _progress(self, task: str) -> Progress:
        return lambda done, total: self.display.advance(task, done, total, {})

    def _require_finite(
        self, value: float, what: str, number: int, outcome: str = "the weights are unchanged"
    ) -> None:
        if not math.isfinite(value):
            raise UserError(
                f"{what} is {value} at step {number + 1}; {outcome}",
                where=str(self.folder.path),
                hint="Lower learning_rate, or compute in another model.dtype; "
                "the same command goes on from the last checkpoint.",
            )

    @property
    def _objectives(self) -> list[Objective]:
        return [term.objective for term in self.terms]

    def _save(self, done: int, held_out: Mapping[str, float]) -> None:
        kept = save_training(
            self.folder.checkpoints,
            done,
            self.parameters,
            self.optimizer,
            self._objectives,
            held_out,
            self.settings.keep_checkpoints,
        )
        for term in self.terms:
            term.source.forget_before(kept)

    def _resume(self) -> tuple[int, dict[str, float]]:
        folder, note = self.folder.checkpoints, self.display.note
        start, held_out = resume_training(folder, self.parameters, self.optimizer, self._objectives, note)
        if start:
            note(f"resuming after step {start} of {self.steps}")
        return start, held_out


def memory_gb(device: torch.device) -> float:
    """Return the peak memory so far in GB: of the CUDA device, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
