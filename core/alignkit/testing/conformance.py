"""The conformance suite: does with an objective what the engine does, in more than one way, on random
tensors, and compares.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from alignkit.batch import Batch, MissingSignal, Rollouts
from alignkit.errors import UserError
from alignkit.objective import Loss, Objective, OnlineObjective, Prompts
from alignkit.registry import Plugin, require_objective
from alignkit.testing.cases import GROUPS, PER_TOKEN, SIGNALS, Case, make_case, padded, signals_of, wider
from alignkit.training.averages import Averages
from alignkit.training.rollouts import check_prepared, lasting

SEEDS = range(4)
PADDING = 3  # columns
RELATIVE, ABSOLUTE = 1e-3, 1e-5  # what rounding of fp32 may do to a sum


def check_objective(objective: Objective, *, columns: Collection[str] = ()) -> None:
    """Check an objective, an instance with its options; returns where nothing is wrong.

    It checks that the declarations are valid and the options survive being written down; that `loss` returns
    finite terms with weights of their shape and metrics that are tensors; that gradient reaches every trained
    role, and no padding; that nothing undeclared is read; and that neither padding, nor the order of
    completions and prompts, nor the cut into micro-batches of whole prompts changes loss, gradient or
    metrics. Of an OnlineObjective it checks what `prepare` makes of random rollouts, too. That the
    mathematics is the paper's it cannot know.

    columns: the data's columns that these options need, such as {"margin"}; `rank` or `label` is there where
    `data` says so. Raises AssertionError or UserError with what is wrong.
    """
    _check_declarations(objective, columns)
    _check_options(objective)
    state = dict(objective.state)
    reached: set[str] = set()
    try:
        for seed in SEEDS:
            reached |= _check_case(objective, make_case(objective, seed, columns), seed, state)
    finally:
        _set_state(objective, state)
    for role in sorted(set(objective.trains) - reached):
        signals = " nor ".join(f"batch.{signal}" for signal in signals_of(objective, role))
        _fail(
            objective,
            f"it trains {role!r}, but no gradient reaches {signals}; use it in `loss` without "
            "detaching it, or do not declare it",
        )


@dataclass(frozen=True)
class _Outcome:
    """Σ weight·terms, Σ weight, the gradient of the former in every leaf, and the averaged metrics."""

    total: float
    weight: float
    gradients: dict[str, Tensor]
    metrics: dict[str, float]


def _fail(objective: Objective, text: str) -> NoReturn:
    raise AssertionError(f"{type(objective).__name__}: {text}")


def _check_declarations(objective: Objective, columns: Collection[str]) -> None:
    cls = type(objective)
    require_objective(cls, Plugin(cls.__module__, cls.__module__, ""))
    for declaration in ("trains", "reads"):
        unknown = set(getattr(objective, declaration)) - set(SIGNALS)
        if unknown:
            _fail(
                objective,
                f"`{declaration}` has the unknown role {min(unknown)!r}; known: {', '.join(SIGNALS)}",
            )
    if not objective.trains or "reference" in objective.trains:
        _fail(objective, f"`trains` must name policy, reward or value, found {sorted(objective.trains)}")
    declared = {*objective.trains, *objective.reads}
    if objective.entropy and "policy" not in declared:
        _fail(objective, '`entropy` is the policy\'s, and neither `trains` nor `reads` has "policy"')
    online = isinstance(objective, OnlineObjective)
    if online != issubclass(cls.data, Prompts):
        _fail(
            objective,
            f"data = {cls.data.__name__}: an OnlineObjective learns from Prompts, and nothing else does",
        )
    if online and "policy" not in declared:
        _fail(objective, 'the policy samples, and neither `trains` nor `reads` has "policy"')
    if online and columns:
        _fail(
            objective, f"rollouts have no columns of the data, such as {min(columns)!r}; rewards read those"
        )


def _check_options(objective: Objective) -> None:
    """A recipe and a stage's fingerprint write options down."""
    options = objective.model_dump()
    try:
        again = type(objective)(**options).model_dump()
        from_json = type(objective)(**json.loads(json.dumps(objective.model_dump(mode="json")))).model_dump()
    except Exception as error:
        raise AssertionError(
            f"{type(objective).__name__}: its options cannot be written down and read again: {error}"
        ) from error
    for found in (again, from_json):
        if found != options:
            changed = next(name for name in options if found.get(name) != options[name])
            _fail(
                objective,
                f"the option {changed!r} is {options[changed]!r}, and {found.get(changed)!r} "
                "after it was written and read again",
            )


def _check_case(objective: Objective, case: Case, seed: int, state: dict[str, float]) -> set[str]:
    """Compare the ways to compute one random case; returns the roles that gradient reached."""

    def outcome(order: Tensor | None = None, padding: int = 0, parts: int = 1) -> _Outcome:
        _set_state(objective, state)
        return _compute(objective, case, order, padding, parts)

    once = outcome()
    for name, gradient in once.gradients.items():
        if not gradient.isfinite().all():
            _fail(objective, f"the gradient of batch.{name} is not finite")
        if name in PER_TOKEN and gradient[~case.given.mask].any():
            _fail(
                objective,
                f"gradient reaches batch.{name} at padding; multiply by batch.mask, or pass it as the weight",
            )
    shuffled = torch.randperm(len(case.given), generator=torch.Generator().manual_seed(seed))
    for way, compute, hint in (
        ("computed again", outcome, "it must depend on its batch alone"),
        (
            "with more padding",
            lambda: outcome(padding=PADDING),
            "multiply by batch.mask, or pass it as the weight",
        ),
        (
            "with completions and prompts in another order",
            lambda: outcome(order=shuffled),
            "go by batch.group, not by place",
        ),
        (
            "in micro-batches",
            lambda: outcome(parts=2),
            "return one term, and one value of a metric, for each item; no mean or sum over the batch, and "
            "no number of the whole batch",
        ),
    ):
        _require_same(objective, case, once, compute(), way, hint)
    return {
        role
        for role in objective.trains
        for name in signals_of(objective, role)
        if once.gradients[name].any()
    }


def _require_same(
    objective: Objective, case: Case, once: _Outcome, other: _Outcome, way: str, hint: str
) -> None:
    for what, expected, found in (
        ("Σ weight·terms", once.total, other.total),
        ("Σ weight", once.weight, other.weight),
    ):
        if not math.isclose(expected, found, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            _fail(objective, f"{what} is {expected:.6g}, {way} {found:.6g}; {hint}")
    for name in case.leaves:
        if not torch.allclose(once.gradients[name], other.gradients[name], rtol=RELATIVE, atol=ABSOLUTE):
            _fail(objective, f"the gradient of batch.{name} is another {way}; {hint}")
    if once.metrics.keys() != other.metrics.keys():
        _fail(objective, f"the metrics are {sorted(once.metrics)}, {way} {sorted(other.metrics)}")
    for name, expected in once.metrics.items():
        if not math.isclose(expected, other.metrics[name], rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            _fail(
                objective, f"the metric {name!r} is {expected:.6g}, {way} {other.metrics[name]:.6g}; {hint}"
            )


def _compute(objective: Objective, case: Case, order: Tensor | None, padding: int, parts: int) -> _Outcome:
    """What the engine makes of the case: `prepare` where there is one, then `loss` on each of `parts`
    micro-batches of whole prompts.
    """
    laid = padded(case.given if order is None else case.given.select(order), padding)
    if order is not None:  # the prompts are numbered in another order, too
        laid = Rollouts(laid.tokens, laid.mask, GROUPS - 1 - laid.group, laid.columns, laid.signals)
    columns: dict[str, Tensor] = dict(laid.columns)
    signals: dict[str, Tensor] = dict(laid.signals)
    if isinstance(objective, OnlineObjective):
        laid = _prepare(objective, laid)
        signals = {**laid.columns, **lasting(objective, laid)}
        signals = {
            name: value.masked_fill(~laid.mask, 0) if value.ndim == 2 else value
            for name, value in signals.items()
        }
        columns = {}
    place = laid.tokens[:, 0]
    signals |= {name: wider(leaf, padding)[place] for name, leaf in case.leaves.items()}
    total, weight, averages = torch.zeros(()), 0.0, Averages()
    for part in torch.arange(GROUPS).chunk(parts):
        index = torch.isin(laid.group, part).nonzero().squeeze(-1)
        if not len(index):
            continue
        group = laid.group[index].unique(return_inverse=True)[1]
        kept = ({name: value[index] for name, value in tensors.items()} for tensors in (columns, signals))
        loss = _loss(objective, Batch(laid.tokens[index], laid.mask[index], group, *kept))
        summed, share = loss.total()
        total, weight = total + summed, weight + share
        averages.add_loss(loss)
    leaves = list(case.leaves.values())
    found = (
        torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else [None] * len(leaves)
    )
    gradients = {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(case.leaves.items(), found, strict=True)
    }
    return _Outcome(float(total.detach()), weight, gradients, averages.means())


def _prepare(objective: OnlineObjective, rollouts: Rollouts) -> Rollouts:
    with torch.no_grad():
        prepared = _call(objective, "prepare", objective.prepare, rollouts)
    check_prepared(objective, prepared)
    for name, value in prepared.signals.items():
        if value.requires_grad:
            _fail(objective, f"`prepare` gave {name} a gradient; the engine keeps it on disk")
    _check_state(objective)
    return prepared


def _loss(objective: Objective, batch: Batch) -> Loss:
    loss = _call(objective, "loss", objective.loss, batch)
    if not isinstance(loss, Loss) or not isinstance(loss.terms, Tensor):
        _fail(
            objective,
            f"`loss` must return Loss(terms, weight, metrics) with terms as a tensor, found {loss!r:.100}",
        )
    if loss.weight is not None:
        if not isinstance(loss.weight, Tensor) or loss.weight.shape != loss.terms.shape:
            shape = tuple(loss.weight.shape) if isinstance(loss.weight, Tensor) else repr(loss.weight)
            _fail(
                objective,
                f"the terms have the shape {tuple(loss.terms.shape)}, the weight {shape}; they "
                "must be the same",
            )
        if not loss.weight.isfinite().all() or (loss.weight < 0).any():
            _fail(objective, "the weight has a negative number or one that is not finite")
    counted = loss.terms if loss.weight is None else loss.terms[loss.weight > 0]
    if not counted.isfinite().all():
        _fail(objective, "the terms have a number that is not finite")
    for name, value in (loss.metrics or {}).items():
        if not isinstance(value, Tensor):
            _fail(
                objective,
                f"the metric {name!r} is a {type(value).__name__}; a tensor is expected, one value an item",
            )
        shown = (
            value[loss.weight > 0] if loss.weight is not None and loss.weight.shape == value.shape else value
        )
        if not shown.isfinite().all():
            _fail(objective, f"the metric {name!r} has a number that is not finite")
    _check_state(objective)
    return loss


def _call(objective: Objective, name: str, method: Callable[[Any], Any], argument: Any) -> Any:
    """The method's answer; its failure is told as what is wrong with it."""
    try:
        return method(argument)
    except MissingSignal as error:  # first, as a missing column is the user's error too
        hint = " If the data brings it: check_objective(…, columns={…})." if "no column" in str(error) else ""
        raise AssertionError(
            f"{type(objective).__name__}: in `{name}`, {str(error).splitlines()[0]}.{hint}"
        ) from error
    except UserError:
        raise
    except Exception as error:
        raise AssertionError(
            f"{type(objective).__name__}: `{name}` failed with {type(error).__name__}: {error}"
        ) from error


def _check_state(objective: Objective) -> None:
    for name, value in objective.state.items():
        if not isinstance(value, int | float):
            _fail(
                objective,
                f"state[{name!r}] is a {type(value).__name__}; checkpoints carry plain numbers, so write "
                "float(…)",
            )


def _set_state(objective: Objective, state: dict[str, float]) -> None:
    objective.state.clear()
    objective.state.update(state)
