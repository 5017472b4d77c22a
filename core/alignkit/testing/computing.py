"""Computes an objective's loss on a random case in the way of the engine, and checks each answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from alignkit.batch import Batch, MissingColumn
from alignkit.errors import UserError
from alignkit.objective import Loss, Objective, OnlineObjective, overrides
from alignkit.rollouts import Rollouts
from alignkit.signals import STEP_END
from alignkit.testing.cases import Case, padded, wider
from alignkit.testing.failure import fail
from alignkit.training.averages import Averages
from alignkit.training.calling import begin_step, call, end_step, losses_of
from alignkit.training.preparing import accepted, check_prepared, lasting

BEFORE_ROLES = {"rewards", "reward_parts/first", "reward_parts/second", "sampler_logps", "source", STEP_END}
"""The signals that rollouts have before any role is computed."""


@dataclass(frozen=True)
class Layout:
    """How the completions of a case are given to the objective.

    order (N,): their places in another order; the prompts are then numbered in another order too. padding:
    columns of padding that are added. parts: micro-batches into which the prompts are cut.
    """

    order: Tensor | None = None
    padding: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Outcome:
    """What one computation gave.

    total: Σ factor · Σ weight·terms ÷ Σ weight over the losses. weight: Σ weight of all. gradients: of the
    total, for each leaf. metrics: the averages.
    """

    total: float
    weight: float
    gradients: dict[str, Tensor]
    metrics: dict[str, float]


def compute(objective: Objective, case: Case, layout: Layout, state: dict[str, float]) -> Outcome:
    """Begin with `state`, do one step: `prepare` of an OnlineObjective, and `loss` on each micro-batch.

    Raises AssertionError or UserError with what is wrong with an answer of the objective.
    """
    set_state(objective, state)
    begin_step(objective, 0, 1)
    laid = _laid_out(case, layout)
    columns: dict[str, Tensor] = dict(laid.columns)
    signals: dict[str, Tensor] = dict(laid.signals)
    if isinstance(objective, OnlineObjective):
        laid = _prepare(objective, laid)
        columns = {}
        signals = {
            name: value.masked_fill(~laid.mask, 0) if value.ndim == 2 else value
            for name, value in {**laid.columns, **lasting(objective, laid)}.items()
        }
        # Functions of the vocabulary are computed anew for `loss`.
        signals |= {name: laid.signals[name] for name in objective.over_vocabulary if name in laid.signals}
    place = laid.tokens[:, 0]  # `make_case` writes a completion's number into its first token
    signals |= {name: wider(leaf, layout.padding)[place] for name, leaf in case.leaves.items()}
    kept, averages = [], Averages()
    parts = 1 if objective.scope == "step" else layout.parts
    for part in torch.arange(len(laid.prompts)).chunk(parts):
        index = torch.isin(laid.group, part).nonzero().squeeze(-1)
        if not len(index):
            continue
        present, group = laid.group[index].unique(return_inverse=True)
        batch = Batch(
            laid.tokens[index],
            laid.mask[index],
            group,
            {name: value[index] for name, value in columns.items()},
            {name: value[index] for name, value in signals.items()},
            tuple(laid.prompts[number] for number in present.tolist()),
            sources=laid.sources,
        )
        losses = _losses(objective, batch)
        kept.append(losses)
        averages.add(losses)
    sums = [[loss.total() for loss in losses] for losses in zip(*kept, strict=True)] if kept else []
    weights = tuple(sum(weight for _, weight in parts) for parts in sums)
    total = torch.zeros(())
    for losses, weight in zip(zip(*kept, strict=True), weights, strict=True):
        for loss in losses:
            if weight > 0:
                total = total + loss.factor * loss.total()[0] / weight
    outcome = Outcome(float(total.detach()), sum(weights), _gradients(total, case.leaves), averages.means())
    end_step(objective, outcome.metrics)
    return outcome


def set_state(objective: Objective, state: dict[str, float]) -> None:
    """Let the objective remember `state` and nothing else."""
    objective.state.replace(state)


def _laid_out(case: Case, layout: Layout) -> Rollouts:
    given = case.given if layout.order is None else case.given.select(layout.order)
    laid = padded(given, layout.padding)
    if layout.order is None:
        return laid
    return replace(laid, group=len(laid.prompts) - 1 - laid.group, prompts=tuple(reversed(laid.prompts)))


def _gradients(total: Tensor, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradient of the total for each leaf, zeros where it does not reach a leaf."""
    tensors = list(leaves.values())
    found = (
        torch.autograd.grad(total, tensors, allow_unused=True)
        if total.requires_grad
        else [None] * len(tensors)
    )
    return {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
    }


def _prepare(objective: OnlineObjective, rollouts: Rollouts) -> Rollouts:
    with torch.no_grad():
        if overrides(objective, "accept"):
            bare = replace(
                rollouts, signals={n: rollouts.signals[n] for n in BEFORE_ROLES & {*rollouts.signals}}
            )
            accepted(objective, bare, len(rollouts.prompts))
        prepared = call(objective, "prepare", rollouts)
    check_prepared(objective, prepared)
    for name, value in prepared.signals.items():
        if value.requires_grad:
            fail(objective, f"`prepare` gave {name} a gradient; the engine writes it to disk without one")
    return prepared


def _losses(objective: Objective, batch: Batch) -> tuple[Loss, ...]:
    try:
        losses = losses_of(objective, batch)
    except UserError as error:
        if isinstance(error.__cause__, MissingColumn):
            told = f"{error.message}. Where the data has it, name it: check_objective(…, columns={{…}})"
            fail(objective, told, error)
        raise
    for loss in losses:
        _check_weight(objective, loss)
        counted = loss.terms if loss.weight is None else loss.terms[loss.weight > 0]
        if not counted.isfinite().all():
            fail(objective, "the terms have a number that is not finite")
        for name, value in loss.averages().items():
            counted = value.values if value.weight is None else value.values[value.weight > 0]
            if not counted.isfinite().all():
                fail(objective, f"the metric {name!r} has a number that is not finite")
    return losses


def _check_weight(objective: Objective, loss: Loss) -> None:
    if loss.weight is not None and (not loss.weight.isfinite().all() or (loss.weight < 0).any()):
        fail(objective, "the weight has a number that is negative or not finite")
