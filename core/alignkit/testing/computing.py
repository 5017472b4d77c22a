"""Computes an objective's loss on a random case in the way of the engine, and checks each answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alignkit.batch import Batch, MissingSignal, Rollouts
from alignkit.errors import UserError, first_line
from alignkit.objective import Loss, Objective, OnlineObjective
from alignkit.testing.cases import GROUPS, Case, padded, wider
from alignkit.testing.failure import fail
from alignkit.training.averages import Averages
from alignkit.training.preparing import check_prepared, lasting


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

    total: Σ weight·terms. weight: Σ weight. gradients: of the total, for each leaf. metrics: the averages.
    """

    total: float
    weight: float
    gradients: dict[str, Tensor]
    metrics: dict[str, float]


def compute(objective: Objective, case: Case, layout: Layout, state: dict[str, float]) -> Outcome:
    """Begin with `state`, call `prepare` of an OnlineObjective, and `loss` on each micro-batch.

    Raises AssertionError or UserError with what is wrong with an answer of the objective.
    """
    set_state(objective, state)
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
    place = laid.tokens[:, 0]  # `make_case` writes a completion's number into its first token
    signals |= {name: wider(leaf, layout.padding)[place] for name, leaf in case.leaves.items()}
    total, weight, averages = torch.zeros(()), 0.0, Averages()
    for part in torch.arange(GROUPS).chunk(layout.parts):
        index = torch.isin(laid.group, part).nonzero().squeeze(-1)
        if not len(index):
            continue
        group = laid.group[index].unique(return_inverse=True)[1]
        kept = ({name: value[index] for name, value in known.items()} for known in (columns, signals))
        loss = _loss(objective, Batch(laid.tokens[index], laid.mask[index], group, *kept))
        summed, share = loss.total()
        total, weight = total + summed, weight + share
        averages.add_loss(loss)
    return Outcome(float(total.detach()), weight, _gradients(total, case.leaves), averages.means())


def set_state(objective: Objective, state: dict[str, float]) -> None:
    """Let the objective remember `state` and nothing else."""
    objective.state.clear()
    objective.state.update(state)


def _laid_out(case: Case, layout: Layout) -> Rollouts:
    given = case.given if layout.order is None else case.given.select(layout.order)
    laid = padded(given, layout.padding)
    if layout.order is None:
        return laid
    return Rollouts(laid.tokens, laid.mask, GROUPS - 1 - laid.group, laid.columns, laid.signals)


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
        prepared = _call(objective, "prepare", objective.prepare, rollouts)
    check_prepared(objective, prepared)
    for name, value in prepared.signals.items():
        if value.requires_grad:
            fail(objective, f"`prepare` gave {name} a gradient; the engine writes it to disk without one")
    _check_state(objective)
    return prepared


def _loss(objective: Objective, batch: Batch) -> Loss:
    loss = _call(objective, "loss", objective.loss, batch)
    if not isinstance(loss, Loss) or not isinstance(loss.terms, Tensor):
        fail(
            objective,
            f"`loss` must return Loss(terms, weight, metrics) with terms as a tensor; found {loss!r:.100}",
        )
    _check_weight(objective, loss)
    counted = loss.terms if loss.weight is None else loss.terms[loss.weight > 0]
    if not counted.isfinite().all():
        fail(objective, "the terms have a number that is not finite")
    for name, value in (loss.metrics or {}).items():
        _check_metric(objective, loss, name, value)
    _check_state(objective)
    return loss


def _check_weight(objective: Objective, loss: Loss) -> None:
    if loss.weight is None:
        return
    if not isinstance(loss.weight, Tensor) or loss.weight.shape != loss.terms.shape:
        shape = tuple(loss.weight.shape) if isinstance(loss.weight, Tensor) else repr(loss.weight)
        fail(
            objective,
            f"the terms have the shape {tuple(loss.terms.shape)}, and the weight {shape}; the shapes must be "
            "the same",
        )
    if not loss.weight.isfinite().all() or (loss.weight < 0).any():
        fail(objective, "the weight has a number that is negative or not finite")


def _check_metric(objective: Objective, loss: Loss, name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        fail(
            objective,
            f"the metric {name!r} is a {type(value).__name__}; expected a tensor with one value per item",
        )
    weight = loss.weight
    counted = value if weight is None or weight.shape != value.shape else value[weight > 0]
    if not counted.isfinite().all():
        fail(objective, f"the metric {name!r} has a number that is not finite")


def _call(objective: Objective, name: str, method: Callable[[Any], Any], argument: Any) -> Any:
    """Return the method's answer; tell its failure as what is wrong with the method."""
    try:
        return method(argument)
    except MissingSignal as error:  # before UserError, because a missing column is both
        missing = "no column" in str(error)
        hint = " Where the data has it, name it: check_objective(…, columns={…})." if missing else ""
        fail(objective, f"in `{name}`, {first_line(error)}.{hint}", error)
    except UserError:
        raise
    except Exception as error:
        fail(objective, f"`{name}` failed with {type(error).__name__}: {error}", error)


def _check_state(objective: Objective) -> None:
    for name, value in objective.state.items():
        if not isinstance(value, int | float):
            fail(
                objective,
                f"state[{name!r}] is a {type(value).__name__}, but checkpoints hold plain numbers; write "
                "float(…)",
            )
