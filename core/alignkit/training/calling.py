"""Calls an objective's methods, and checks what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from alignkit.batch import Batch, MissingSignal
from alignkit.errors import UserError, first_line, raised_at
from alignkit.example import Group
from alignkit.objective import Average, Loss, Objective, overrides

WRITES = (
    "Write the state in `prepare`, `begin_step` or `end_step`: evaluation calls `loss` too, and must not "
    "change training."
)
"""Where an objective may write its state."""


def losses_of(objective: Objective, batch: Batch) -> tuple[Loss, ...]:
    """Return what the objective's `loss` gives for the batch, as one or several checked losses.

    The state can only be read meanwhile. Raises UserError, which names the objective, where `loss` fails or
    returns anything else.
    """
    with objective.state.locked("loss", WRITES):
        found = call(objective, "loss", batch)
    losses = (found,) if isinstance(found, Loss) else found
    several = isinstance(losses, Sequence) and bool(losses)
    if not several or not all(isinstance(loss, Loss) for loss in losses):
        raise _wrong(objective, f"`loss` returned {_told(found)}", "a Loss, or several in a tuple")
    for loss in losses:
        _check(objective, loss)
    return tuple(losses)


def arranged(objective: Objective, groups: list[Group]) -> list[Group]:
    """Return the step's groups as the objective's `arrange` gives them.

    Raises UserError where it fails, and where it returns anything but groups with completions.
    """
    if not overrides(objective, "arrange"):
        return groups
    found = call(objective, "arrange", tuple(groups))
    right = isinstance(found, Sequence) and all(
        isinstance(group, Group) and group.prompt and group.completions and all(group.completions)
        for group in found
    )
    if not right:
        raise _wrong(
            objective, f"`arrange` returned {_told(found)}", "groups, each with completions of tokens"
        )
    for group in found:
        for name, values in group.columns.items():
            if len(values) != len(group.completions):
                raise _wrong(
                    objective,
                    f"`arrange` gave the column {name!r} {len(values)} values for {len(group.completions)} "
                    "completions",
                    "one value for each completion",
                )
    return list(found)


def begin_step(objective: Objective, step: int, steps: int) -> None:
    """Call the objective's `begin_step`."""
    call(objective, "begin_step", step, steps)


def end_step(objective: Objective, metrics: Mapping[str, float]) -> None:
    """Call the objective's `end_step`."""
    call(objective, "end_step", metrics)


def call(objective: Objective, method: str, *arguments: Any) -> Any:
    """Return the answer of a method of the objective.

    Raises UserError, with the file and line, where the method fails.
    """
    bound: Callable[..., Any] = getattr(objective, method)
    try:
        return bound(*arguments)
    except UserError as error:
        if error.where is not None:
            raise
        raise UserError(error.message, where=f"objective {objective.name!r}", hint=error.hint) from error
    except MissingSignal as error:
        raise UserError(str(error), where=_place(objective, error)) from error
    except Exception as error:
        raise UserError(
            f"`{method}` failed with {type(error).__name__}: {first_line(error)}",
            where=_place(objective, error),
            hint="Mend the objective's plugin; the same command then goes on from the last checkpoint.",
        ) from error


def _place(objective: Objective, error: Exception) -> str:
    return f"objective {objective.name!r}, {raised_at(error, type(objective))}"


def _check(objective: Objective, loss: Loss) -> None:
    """Refuse terms, weights and metrics that cannot be added up."""
    if not isinstance(loss.terms, Tensor):
        raise _wrong(objective, f"the terms of its loss are {_told(loss.terms)}", "a tensor")
    if loss.weight is not None and not isinstance(loss.weight, Tensor):
        raise _wrong(objective, f"the weight of its loss is {_told(loss.weight)}", "a tensor")
    if loss.weight is not None and loss.weight.shape != loss.terms.shape:
        raise UserError(
            f"it returned terms of shape {tuple(loss.terms.shape)} and weight of shape "
            f"{tuple(loss.weight.shape)}",
            where=f"objective {objective.name!r}",
            hint="Loss(terms, weight) needs equal shapes; for a loss per token pass the mask.",
        )
    for name, value in (loss.metrics or {}).items():
        if not isinstance(value, Tensor | Average):
            raise _wrong(objective, f"the metric {name!r} is {_told(value)}", "a tensor or an Average")
    for name, value in loss.averages().items():
        if value.weight is not None and value.weight.shape != value.values.shape:
            raise UserError(
                f"the metric {name!r} has values of shape {tuple(value.values.shape)} and weight of shape "
                f"{tuple(value.weight.shape)}; expected equal shapes",
                where=f"objective {objective.name!r}",
            )


def _wrong(objective: Objective, found: str, expected: str) -> UserError:
    return UserError(f"{found}; expected {expected}", where=f"objective {objective.name!r}")


def _told(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{len(value)} of {', '.join(sorted({type(item).__name__ for item in value})) or 'nothing'}"
    return "None" if value is None else type(value).__name__
