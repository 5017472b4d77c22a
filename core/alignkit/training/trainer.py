"""The one training loop: every objective, alone or in a mixture, on fixed data or on its own samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from alignkit.errors import UserError
from alignkit.models.computing import forward_budget
from alignkit.models.roles import Roles
from alignkit.objective import Loss, Objective, overrides
from alignkit.progress import Display, Progress
from alignkit.recipe import Training
from alignkit.run.folder import StageFolder
from alignkit.run.metrics import MetricsFile
from alignkit.training.averages import Averages
from alignkit.training.batches import ObjectiveBatches, StepGroups, cut, join
from alignkit.training.calling import begin_step, end_step, losses_of
from alignkit.training.gradient import StepGradient, signal_gradients
from alignkit.training.interruption import Interrupted, sigterm_noted
from alignkit.training.metrics import GRAD_NORM, HELD_OUT, LEARNING_RATE, MEMORY, SPEED, prefix_of
from alignkit.training.optimization import learning_rate, make_optimizer
from alignkit.training.resuming import resume_training, save_training
from alignkit.training.sources import FixedSource, Source

HALF_LOSS_SCALE = 1024.0
"""Keeps float16 gradients of activations above underflow; it is divided out with the weight."""

SEED_STRIDE = 1_000_003
"""A prime above the number of steps of a stage: no two seeds share the random numbers of a step."""

PLACE_STRIDE = 2_147_483_647
"""A prime above all products of seeds and steps that are used, for micro-batches that are computed twice."""

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
    updates: int
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
        self.updates = 0
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
                    held_out = self.evaluate(number)
                    values |= held_out
                metrics.write(done, values)
                self.track(done, values)
                self.display.advance("train", done, self.steps, values)
                stop = interrupted()
                if done % self.save_every == 0 or done == self.steps or stop:
                    self._save(done, held_out)
                if stop:
                    raise Interrupted
            self._require_learned()
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
        tokens, counted, reported = 0, 0.0, {}
        gradient = StepGradient(self.parameters, self.loss_scale)
        of_terms = []
        for term in self.terms:
            begin_step(term.objective, number, self.steps)
            begun = term.source.begin(number)
            batches = self._batches(term.objective)
            chosen = batches.choose(term.source, term.source.indices(number), number)
            averages = self._differentiate(batches, chosen, gradient)
            counted += gradient.close_term(term.weight)
            tokens += chosen.tokens
            of_terms.append(averages.means())
            prefix = prefix_of(term.objective, len(self.terms))
            reported |= {f"{prefix}{name}": value for name, value in (begun | of_terms[-1]).items()}
        norm = gradient.finish(self.settings.max_grad_norm)
        self._require_finite(norm, "the gradient", number)
        rate = learning_rate(self.settings, number, self.steps)
        if counted > 0:  # an objective may keep none of its samples: then there is nothing to learn from
            self._update(rate, number)
            self.updates += norm > 0
        self.roles.follow(number + 1)
        for term, means in zip(self.terms, of_terms, strict=True):
            end_step(term.objective, means)
        return StepOutcome({**reported, LEARNING_RATE: rate, GRAD_NORM: norm}, tokens)

    @torch.no_grad()
    def evaluate(self, step: int = 0) -> dict[str, float]:
        """Return loss and metrics on the held-out groups, and the terms' baselines, as `held_out/…`.

        step: the optimizer step before. An objective that sees whole steps sees as many groups as in one.
        """
        found: dict[str, float] = {}
        with self.roles.without_dropout():
            for term in self.terms:
                if term.held_out is None:
                    continue
                averages, batches = Averages(), self._batches(term.objective)
                for indices in self._measured_together(term):
                    chosen = batches.choose(term.held_out, indices, step)
                    parts = chosen.parts(forward_budget(self.settings.micro_batch_tokens))
                    made = [batches.make(chosen, part) for part in parts]
                    whole = [join(made)] if term.objective.scope == "step" else made
                    for batch in whole:
                        averages.add(losses_of(term.objective, batch))
                prefix = prefix_of(term.objective, len(self.terms))
                found |= {f"{prefix}{name}": value for name, value in averages.means().items()}
                found |= term.baselines
        return {f"{HELD_OUT}{name}": value for name, value in found.items()}

    def _differentiate(
        self, batches: ObjectiveBatches, chosen: StepGroups, gradient: StepGradient
    ) -> Averages:
        """Add the gradient of a step's groups; return the averages of what the objective reported."""
        averages, objective = Averages(), batches.objective
        parts = chosen.parts(batches.budget(self.settings.micro_batch_tokens))
        if objective.scope == "step" and len(parts) > 1:
            self._differentiate_at_once(batches, chosen, parts, gradient, averages)
            return averages
        self._seed(chosen.step)
        for part in parts:
            losses = losses_of(objective, batches.make(chosen, part))
            self._require_finite_losses(objective, losses, chosen.step)
            gradient.add(losses)
            averages.add(losses)
        return averages

    def _differentiate_at_once(
        self,
        batches: ObjectiveBatches,
        chosen: StepGroups,
        parts: list[list[int]],
        gradient: StepGradient,
        averages: Averages,
    ) -> None:
        """Do the same for an objective that sees the whole step.

        All signals are computed without gradient, the loss is differentiated for them, and then each
        micro-batch is computed again with the gradient of its signals.
        """
        objective, made = batches.objective, []
        with torch.no_grad():
            for place, part in enumerate(parts):
                self._seed(chosen.step, place)
                made.append(batches.make(chosen, part))
        whole = join(made)
        leaves = {name: whole.signals[name].requires_grad_() for name in batches.trained_signals}
        losses = losses_of(objective, whole)
        self._require_finite_losses(objective, losses, chosen.step)
        averages.add(losses)
        found = signal_gradients(losses, list(leaves.values()))
        pieces = [cut(one, made) for one in found]  # [signal][part]
        for place, part in enumerate(parts):
            self._seed(chosen.step, place)
            batch = batches.make(chosen, part)
            gradient.backward([batch.signals[name] for name in leaves], [piece[place] for piece in pieces])

    def _measured_together(self, term: TrainingTerm) -> list[list[int]]:
        """Return the places of held-out groups that `loss` may see at once."""
        assert term.held_out is not None
        places, size = list(range(len(term.held_out.groups))), self.settings.batch_size
        if term.objective.scope != "step" and not overrides(term.objective, "arrange"):
            return [places]
        return [places[start : start + size] for start in range(0, len(places), size)]

    def _batches(self, objective: Objective) -> ObjectiveBatches:
        return ObjectiveBatches(self.roles, objective, self.steps)

    def _seed(self, number: int, place: int = 0) -> None:
        """Make dropout a function of the step and the micro-batch, so that resuming needs no random state."""
        torch.manual_seed((self.seed * SEED_STRIDE + number + place * PLACE_STRIDE) % 2**63)

    def _require_finite_losses(self, objective: Objective, losses: Sequence[Loss], number: int) -> None:
        for loss in losses:
            total, _ = loss.total()
            self._require_finite(float(total.detach()), f"the loss of {objective.name}", number)

    def _update(self, rate: float, number: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        size = float(nn.utils.get_total_norm(list(self.parameters.values())))
        self._require_finite(size, "the norm of the weights", number, "this step is not saved")

    def _require_learned(self) -> None:
        """Refuse to end a stage that changed nothing."""
        if not self.updates:
            raise UserError(
                f"nothing was learned: in none of the {self.steps} steps did the loss have terms with a "
                "gradient other than zero",
                where=str(self.folder.path),
                hint="Are all rewards of a prompt equal, all samples refused, or all weights zero? The "
                "samples and metrics.jsonl in this folder show it.",
            )

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

    @property
    def _saved_parameters(self) -> dict[str, nn.Parameter]:
        """Return what a checkpoint keeps: what is trained, and what follows it."""
        return {**self.parameters, **self.roles.following()}

    def _save(self, done: int, held_out: Mapping[str, float]) -> None:
        kept = save_training(
            self.folder.checkpoints,
            done,
            self._saved_parameters,
            self.optimizer,
            self._objectives,
            held_out,
            self.settings.keep_checkpoints,
            updates=self.updates,
        )
        for term in self.terms:
            term.source.forget_before(kept)

    def _resume(self) -> tuple[int, dict[str, float]]:
        folder, note = self.folder.checkpoints, self.display.note
        resumed = resume_training(folder, self._saved_parameters, self.optimizer, self._objectives, note)
        self.updates = resumed.updates
        if resumed.step:
            note(f"resuming after step {resumed.step} of {self.steps}")
        return resumed.step, resumed.held_out


def memory_gb(device: torch.device) -> float:
    """Return the peak memory so far in GB: of the CUDA device, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
