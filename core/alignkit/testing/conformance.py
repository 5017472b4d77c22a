"""The conformance suite: computes an objective in several ways on random tensors and compares the results."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch

from alignkit.objective import Objective, roles_of, roles_of_function
from alignkit.signals import signals_of
from alignkit.testing.cases import Case, make_case
from alignkit.testing.computing import Layout, Outcome, compute, set_state
from alignkit.testing.declarations import check_declarations, check_options
from alignkit.testing.failure import fail

SEEDS = range(4)
PADDING = 3  # columns
MASKING = "multiply by batch.mask, or pass it as the weight"
RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""How far sums may differ by the rounding of fp32."""


def check_objective(
    objective: Objective, *, columns: Collection[str] = (), token_columns: Collection[str] = ()
) -> None:
    """Check an objective, an instance with its options; return where nothing is wrong.

    The suite checks that

    - the declarations are valid, and the options survive being written down;
    - `loss` returns finite terms with weights of their shape, and metrics that are tensors;
    - gradient reaches every trained role, and does not reach padding;
    - only declared signals are read;
    - padding, the order of completions and prompts, and the cut into micro-batches of whole prompts change
      neither loss nor gradient nor metrics;
    - `prepare` and `accept` of an OnlineObjective return what they must, and `end_step` can read what it
      gets;
    - `loss` does not change the state.

    It cannot know whether the mathematics is that of the paper.

    columns: columns of the data that these options need, such as {"margin"}; token_columns: those with a
    number for each token. `rank` or `label` is there where the kind of data has it. Raises AssertionError or
    UserError with what is wrong.
    """
    check_declarations(objective)
    check_options(objective)
    state = dict(objective.state)
    reached: set[str] = set()
    try:
        for seed in SEEDS:
            case = make_case(objective, seed, columns, token_columns)
            once = compute(objective, case, Layout(), state)
            _check_gradients(objective, case, once)
            _check_ways(objective, case, once, seed, state)
            reached |= {name for name, gradient in once.gradients.items() if gradient.any()}
    finally:
        set_state(objective, state)
    for role in sorted(objective.trains):
        _require_gradient(objective, role, reached)


@dataclass(frozen=True)
class _Way:
    """A way to compute that must change nothing.

    told: the way in words. hint: what the author can do where the result differs.
    """

    told: str
    hint: str
    layout: Layout


def _check_ways(objective: Objective, case: Case, once: Outcome, seed: int, state: dict[str, float]) -> None:
    """Compute the case in other ways, and compare each outcome with `once`."""
    shuffled = torch.randperm(len(case.given), generator=torch.Generator().manual_seed(seed))
    for way in (
        _Way(
            "when it is computed again",
            "the loss must depend only on its batch, which has random numbers: batch.uniform()",
            Layout(),
        ),
        _Way(
            "with more padding",
            MASKING,
            Layout(padding=PADDING),
        ),
        _Way(
            "with completions and prompts in another order",
            "use batch.group, not the place of a completion",
            Layout(order=shuffled),
        ),
        _Way(
            "in micro-batches",
            "return one term and one value of each metric per item, without any number of the whole batch",
            Layout(parts=2),
        ),
    ):
        _require_same(objective, once, compute(objective, case, way.layout, state), way)


def _check_gradients(objective: Objective, case: Case, once: Outcome) -> None:
    for name, gradient in once.gradients.items():
        if not gradient.isfinite().all():
            fail(objective, f"the gradient of batch.{name} is not finite")
        if gradient.ndim == 2 and gradient[~case.given.mask].any():
            fail(
                objective,
                f"gradient reaches batch.{name} at padding; {MASKING}",
            )


def _require_gradient(objective: Objective, role: str, reached: set[str]) -> None:
    functions = objective.over_vocabulary.items()
    over = [name for name, function in functions if role in roles_of_function(function)]
    signals = {*signals_of(role, roles_of(objective)[role].kind, entropy=objective.entropy), *over}
    if reached.isdisjoint(signals):
        names = " nor ".join(f"batch.{signal}" for signal in sorted(signals))
        fail(
            objective,
            f"it trains {role!r}, but no gradient reaches {names}; use it in `loss` without detaching it, or "
            "do not declare it",
        )


def _require_same(objective: Objective, once: Outcome, other: Outcome, way: _Way) -> None:
    for what, expected, found in (
        ("Σ weight·terms ÷ Σ weight", once.total, other.total),
        ("Σ weight", once.weight, other.weight),
    ):
        if not _close(expected, found):
            fail(objective, f"{what} is {expected:.6g}, but {found:.6g} {way.told}; {way.hint}")
    for name, expected in once.gradients.items():
        if not torch.allclose(expected, other.gradients[name], rtol=RELATIVE, atol=ABSOLUTE):
            fail(objective, f"the gradient of batch.{name} differs {way.told}; {way.hint}")
    if once.metrics.keys() != other.metrics.keys():
        fail(
            objective,
            f"the metrics are {sorted(once.metrics)}, but {sorted(other.metrics)} {way.told}; report the "
            "same metrics in every batch",
        )
    for name, expected in once.metrics.items():
        if not _close(expected, other.metrics[name]):
            fail(
                objective,
                f"the metric {name!r} is {expected:.6g}, but {other.metrics[name]:.6g} {way.told}; "
                f"{way.hint}",
            )


def _close(expected: float, found: float) -> bool:
    return math.isclose(expected, found, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
