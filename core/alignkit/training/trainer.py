"""The one training loop: every objective, alone or in a mixture, on fixed data or on its own samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from alignkit.errors import UserError
from alignkit.models.roles import Roles
from alignkit.objective import Objective
from alignkit.optimizer import Optimizer
from alignkit.progress import Display, counting
from alignkit.recipe import Training
from alignkit.run.checkpoint import checkpoint_folder
from alignkit.run.folder import StageFolder
from alignkit.run.metrics import MetricsFile, read_metrics
from alignkit.training.batches import ObjectiveBatches
from alignkit.training.calling import begin_step, end_step
from alignkit.training.differentiating import differentiate, measure, require_finite
from alignkit.training.gradient import StepGradient
from alignkit.training.interruption import Interrupted, sigterm_noted
from alignkit.training.metrics import GRAD_NORM, HELD_OUT, MEMORY, SPEED, prefix_of
from alignkit.training.observing import Observing
from alignkit.training.optimization import StageOptimizer, learning_rates, make_optimizer
from alignkit.training.previews import Previews
from alignkit.training.resuming import Reached, TrainingState, resume_training, save_training
from alignkit.training.showing import Showing, draws_every, memory_gb
from alignkit.training.terms import StepOutcome, TrainingTerm
from alignkit.training.time_left import MEASURE, PREVIEW, SAVE, Schedule

HALF_LOSS_SCALE = 1024.0
"""Keeps float16 gradients of activations above underflow; it is divided out with the weight."""

Track = Callable[[int, Mapping[str, float]], None]
"""Takes a step and its metrics."""


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
    optimizer: StageOptimizer
    observing: Observing
    showing: Showing
    previews: Previews | None
    steps: int
    save_every: int
    updates: int
    loss_scale: float
    held_out: dict[str, float]

    def __init__(
        self,
        roles: Roles,
        terms: Sequence[TrainingTerm],
        settings: Training,
        *,
        folder: StageFolder,
        display: Display,
        seed: int,
        optimizer: Optimizer,
        observing: Observing | None = None,
        previews: Previews | None = None,
        track: Track = lambda step, values: None,
    ) -> None:
        self.roles, self.terms, self.settings = roles, terms, settings
        self.folder, self.display, self.track, self.seed = folder, display, track, seed
        self.parameters = roles.trainable()
        self.optimizer = make_optimizer(optimizer, self.parameters, settings)
        self.observing, self.previews = observing or Observing(), previews
        self.steps = settings.steps or math.ceil(settings.epochs * terms[0].source.steps_per_epoch)
        self.save_every = settings.save_every or max(10, self.steps // 10)
        self.updates = 0
        self.loss_scale = HALF_LOSS_SCALE if roles.base.dtype == torch.float16 else 1.0
        self.held_out = {}
        held_out = [group for term in terms if term.held_out for group in term.held_out.groups]
        self.showing = Showing(display, self._schedule, held_out)

    def run(self) -> dict[str, float]:
        """Train from the newest checkpoint, or from the start, to the end; return the last held-out metrics.

        The end is the last step, or the one after which an observer stopped the stage. Raises Interrupted
        after a checkpoint is written, where SIGTERM came.
        """
        resumed = self._resume()
        self.held_out, done = resumed.held_out, resumed.step
        self.open()
        self.observing.begin(self.folder.name, self.steps, done, self._held_out_every)
        lines = MetricsFile(self.folder.metrics, done if resumed.unobserved is None else done - 1)
        if self.previews is not None:
            self._preview(lambda previews: previews.begin(done))
        self.showing.begin(done, read_metrics(self.folder.metrics))
        with sigterm_noted() as interrupted:
            if resumed.unobserved is not None:
                self._close_step(done, resumed.unobserved, lines, interrupted)
            while done < self.steps and self.observing.stopped is None:
                values = self._timed_step(done)
                done += 1
                if self._evaluates_after(done):
                    values |= self._measure(done - 1)
                self._close_step(done, values, lines, interrupted)
            self._require_learned(done)
            if interrupted():  # while the last checkpoint was written: later stages are not begun
                raise Interrupted
        if self.observing.stopped is not None:
            self.display.note(str(self.observing.stopped))
        self.optimizer.finish()
        self.observing.end(self.held_out)
        return self.held_out

    def open(self) -> None:
        """Compute what the sources need once, before the first step."""
        for term in self.terms:
            term.source.open(self.steps, counting(self.display, "reference"))
            if term.held_out is not None:
                progress = counting(self.display, "held-out reference")
                term.held_out.open(term.held_out.steps_per_epoch, progress)

    def step(self, number: int) -> StepOutcome:
        """Do optimizer step `number`, counted from 0.

        Raises UserError, before the weights change, where the loss or its gradient is not finite.
        """
        tokens, counted, waited, reported = 0, 0.0, 0.0, {}
        gradient = StepGradient(self.parameters, self.loss_scale)
        of_terms = []
        for term in self.terms:
            begin_step(term.objective, number, self.steps)
            began = time.perf_counter()
            begun = term.source.begin(number)
            waited += time.perf_counter() - began
            batches = self._batches(term.objective)
            chosen = batches.choose(term.source, term.source.indices(number), number)
            averages = differentiate(batches, chosen, gradient, self.settings.micro_batch_tokens, self.seed)
            counted += gradient.close_term(term.weight)
            tokens += chosen.tokens
            of_terms.append(averages.means())
            prefix = prefix_of(term.objective, len(self.terms))
            reported |= {f"{prefix}{name}": value for name, value in (begun | of_terms[-1]).items()}
        norm = gradient.finish(self.settings.max_grad_norm)
        require_finite(norm, "the gradient", number, str(self.folder.path))
        rates = learning_rates(self.settings, number, self.steps)
        if counted > 0:  # an objective may keep none of its samples: then there is nothing to learn from
            self._update(number)
            self.updates += norm > 0
        self.roles.follow(number + 1)
        for term, means in zip(self.terms, of_terms, strict=True):
            end_step(term.objective, means)
        return StepOutcome({**reported, **rates, GRAD_NORM: norm}, tokens, waited)

    @torch.no_grad()
    def evaluate(self, step: int = 0) -> dict[str, float]:
        """Return loss and metrics on the held-out groups, and the terms' baselines, as `held_out/…`.

        step: the optimizer step before. An objective that sees whole steps sees as many groups as in one.
        """
        found: dict[str, float] = {}
        with self.roles.without_dropout(), self.optimizer.evaluating():
            for term in self.terms:
                if term.held_out is None:
                    continue
                batches, progress = self._batches(term.objective), counting(self.display, "held-out data")
                averages = measure(batches, term.held_out, self.settings, step, progress)
                prefix = prefix_of(term.objective, len(self.terms))
                found |= {f"{prefix}{name}": value for name, value in averages.means().items()}
                found |= term.baselines
        return {f"{HELD_OUT}{name}": value for name, value in found.items()}

    def _batches(self, objective: Objective) -> ObjectiveBatches:
        return ObjectiveBatches(self.roles, objective, self.steps)

    def _timed_step(self, number: int) -> dict[str, float]:
        """Do a step; return its metrics, with its speed and the memory."""
        began = time.perf_counter()
        outcome = self.step(number)
        seconds = time.perf_counter() - began
        drawn = [took for term in self.terms if (took := term.source.drawn_in) is not None]
        self.showing.took(seconds - outcome.waited, drawn)
        memory = memory_gb(self.roles.base.device)
        return {**outcome.metrics, SPEED: outcome.tokens / seconds, MEMORY: memory}

    def _close_step(
        self, done: int, values: dict[str, float], lines: MetricsFile, interrupted: Callable[[], bool]
    ) -> None:
        """Let the observers see the step that was done, then report it, and save where it is time.

        An observer that fails costs nothing: a checkpoint is written first, from which the same metrics are
        observed again.
        """
        sources = [term.source for term in self.terms] if self.observing.observers else []
        rollouts = [found for source in sources if (found := source.drawn(done - 1)) is not None]
        try:
            stopped = self.observing.step(done, self.steps, rollouts, values)
        except UserError:
            self._save(Reached(done, self.held_out, self.updates, unobserved=values))
            raise
        if stopped and self._has_held_out and not any(name.startswith(HELD_OUT) for name in values):
            values = {**values, **self._measure(done - 1)}
        lines.write(done, values)
        self.track(done, values)
        self.showing.step(done, values, stopped=stopped)
        if self.previews is not None and (stopped or done == self.steps or self.previews.is_due(done)):
            self._preview(lambda previews: previews.draw(done))
        told = interrupted()
        if done % self.save_every == 0 or done == self.steps or stopped or told:
            self._save(Reached(done, self.held_out, self.updates))
        if told:
            raise Interrupted

    def _measure(self, step: int) -> dict[str, float]:
        with self.showing.timing(MEASURE):
            self.held_out = self.evaluate(step)
        return self.held_out

    def _preview(self, show: Callable[[Previews], None]) -> None:
        """Let the previews see the policy as it would be evaluated."""
        if self.previews is not None:
            with self.showing.timing(PREVIEW), self.roles.without_dropout(), self.optimizer.evaluating():
                show(self.previews)

    def _update(self, number: int) -> None:
        self.optimizer.step(self.settings, number, self.steps)
        size = float(nn.utils.get_total_norm(list(self.parameters.values())))
        where = str(self.folder.path)
        require_finite(size, "the norm of the weights", number, where, "this step is not saved")

    def _require_learned(self, steps: int) -> None:
        """Refuse to end a stage that changed nothing."""
        if not self.updates:
            raise UserError(
                f"nothing was learned: in none of the {steps} steps did the loss have terms with a "
                "gradient other than zero",
                where=str(self.folder.path),
                hint="Are all rewards of a prompt equal, all samples refused, or all weights zero? The "
                "samples and metrics.jsonl in this folder show it.",
            )

    @property
    def _has_held_out(self) -> bool:
        return any(term.held_out is not None for term in self.terms)

    @property
    def _held_out_every(self) -> int | None:
        return self.settings.evaluate_every if self._has_held_out else None

    def _evaluates_after(self, done: int) -> bool:
        every = self._held_out_every
        return self._has_held_out and (done == self.steps or (every is not None and done % every == 0))

    @property
    def _schedule(self) -> Schedule:
        measure = (self._held_out_every or self.steps) if self._has_held_out else None
        draw, preview = draws_every([term.objective for term in self.terms]), None
        if self.previews is not None:
            preview = self.previews.every
        return Schedule(self.steps, draw, measure, self.save_every, preview)

    @property
    def _state(self) -> TrainingState:
        objectives = [term.objective for term in self.terms]
        parameters = {**self.parameters, **self.roles.following()}  # what is trained, and what follows it
        return TrainingState(parameters, self.optimizer, objectives, self.observing)

    def _save(self, reached: Reached) -> None:
        folder = self.folder.checkpoints
        with self.showing.timing(SAVE):
            kept = save_training(folder, self._state, reached, self.settings.keep_checkpoints)
        for term in self.terms:
            term.source.forget_before(kept)
        if reached.unobserved is None:
            self.observing.checkpoint(reached.step, checkpoint_folder(folder, reached.step))

    def _resume(self) -> Reached:
        resumed = resume_training(self.folder.checkpoints, self._state, self.display.note)
        if resumed.step:
            self.display.note(f"resuming after step {resumed.step} of {self.steps}")
        self.updates = resumed.updates
        return resumed
