"""Differentiates an objective's loss over the groups of one step, and measures it without gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from alignkit.batch import Batch
from alignkit.errors import UserError
from alignkit.models.computing import forward_budget
from alignkit.objective import Loss, overrides, trained_signals
from alignkit.progress import Progress
from alignkit.recipe import Training
from alignkit.training.averages import Averages
from alignkit.training.batches import ObjectiveBatches, StepGroups, cut, join
from alignkit.training.calling import losses_of
from alignkit.training.gradient import StepGradient, signal_gradients
from alignkit.training.sources import Source

SEED_STRIDE = 1_000_003
"""A prime above the number of steps of a stage: no two seeds share the random numbers of a step."""

PLACE_STRIDE = 2_147_483_647
"""A prime above all products of seeds and steps that are used, for micro-batches that are computed twice."""


def differentiate(
    batches: ObjectiveBatches, chosen: StepGroups, gradient: StepGradient, tokens: int, seed: int
) -> Averages:
    """Add the gradient of a step's groups to `gradient`; return the averages of what the objective reported.

    tokens: the most of a micro-batch, of all trained roles together. seed: decides dropout, with the step.
    Raises UserError where the loss is not finite.
    """
    averages, objective = Averages(), batches.objective
    parts = chosen.parts(batches.budget(tokens))
    if objective.scope == "step" and len(parts) > 1:
        _differentiate_at_once(batches, chosen, parts, gradient, averages, seed)
        return averages
    seed_dropout(seed, chosen.step)
    for part in parts:
        losses = _finite_losses(batches, chosen, batches.make(chosen, part))
        gradient.add(losses, f"objective {objective.name!r}")
        averages.add(losses)
    return averages


def _differentiate_at_once(
    batches: ObjectiveBatches,
    chosen: StepGroups,
    parts: list[list[int]],
    gradient: StepGradient,
    averages: Averages,
    seed: int,
) -> None:
    """Do the same for an objective that sees the whole step.

    All signals are computed without gradient, the loss is differentiated for them, and then each micro-batch
    is computed again with the gradient of its signals.
    """
    made = []
    with torch.no_grad():
        for place, part in enumerate(parts):
            seed_dropout(seed, chosen.step, place)
            made.append(batches.make(chosen, part))
    whole = join(made)
    leaves = {name: whole.signals[name].requires_grad_() for name in trained_signals(batches.objective)}
    losses = _finite_losses(batches, chosen, whole)
    averages.add(losses)
    found, counted = signal_gradients(losses, list(leaves.values()), f"objective {batches.objective.name!r}")
    if counted == 0:  # there is nothing to learn from
        return
    pieces = [cut(one, made) for one in found]  # [signal][part]
    for place, part in enumerate(parts):
        seed_dropout(seed, chosen.step, place)
        batch = batches.make(chosen, part)
        gradient.backward([batch.signals[name] for name in leaves], [piece[place] for piece in pieces])


@torch.no_grad()
def measure(
    batches: ObjectiveBatches,
    source: Source,
    settings: Training,
    step: int,
    progress: Progress | None = None,
) -> Averages:
    """Return the averages of an objective's loss and metrics over all groups of a source.

    step: the optimizer step before. An objective that sees whole steps, or arranges them, sees as many groups
    at once as a step has. progress: counts groups.
    """
    averages, objective = Averages(), batches.objective
    places, size = list(range(len(source.groups))), len(source.groups)
    if objective.scope == "step" or overrides(objective, "arrange"):
        size = settings.batch_size
    for start in range(0, len(places), size):
        chosen = batches.choose(source, places[start : start + size], step)
        parts = chosen.parts(forward_budget(settings.micro_batch_tokens))
        made, done = [], start
        for part in parts:
            made.append(batches.make(chosen, part))
            done += len(part)
            if progress is not None and done < len(places):  # the loss is still to be computed
                progress(done, len(places))
        for batch in [join(made)] if objective.scope == "step" else made:
            averages.add(losses_of(objective, batch))
    if progress is not None and places:
        progress(len(places), len(places))
    return averages


def seed_dropout(seed: int, step: int, place: int = 0) -> None:
    """Make dropout a function of the step and the micro-batch, so that resuming needs no random state."""
    torch.manual_seed((seed * SEED_STRIDE + step + place * PLACE_STRIDE) % 2**63)


def _finite_losses(batches: ObjectiveBatches, chosen: StepGroups, batch: Batch) -> Sequence[Loss]:
    losses = losses_of(batches.objective, batch)
    for loss in losses:
        total, _ = loss.total()
        name = batches.objective.name
        require_finite(float(total.detach()), f"the loss of {name}", chosen.step, f"objective {name!r}")
    return losses


def require_finite(
    value: float, what: str, step: int, where: str, outcome: str = "the weights are unchanged"
) -> None:
    """Raise UserError, at the place `where`, for a number that is not finite.

    step: the optimizer step, from 0. outcome: what became of it.
    """
    if not math.isfinite(value):
        raise UserError(
            f"{what} is {value} at step {step + 1}; {outcome}",
            where=where,
            hint="Lower learning_rate, or compute in another model.dtype; the same command goes on from the "
            "last checkpoint.",
        )
