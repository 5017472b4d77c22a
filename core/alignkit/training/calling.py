"""Calls an objective's methods, and checks what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
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


def arranged(objective: Objective, groups: list[Group], vocabulary: int) -> list[Group]:
    """Return the step's groups as the objective's `arrange` gives them.

    vocabulary: the number of token ids. Raises UserError where it fails, and where it returns anything but
    groups that can be computed.
    """
    if not overrides(objective, "arrange"):
        return groups
    with objective.state.locked("arrange", WRITES):
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
        _check_tokens(objective, group, vocabulary)
        _check_columns(objective, group)
    kinds = {
        frozenset((name, isinstance(values[0], Sequence)) for name, values in group.columns.items())
        for group in found
    }
    if len(kinds) > 1:
        odd = {name for name, _ in frozenset.union(*kinds) - frozenset.intersection(*kinds)}
        raise _wrong(
            objective,
            f"`arrange` gave some groups other columns than others: {', '.join(sorted(odd))}",
            "the same columns in every group, of numbers or of numbers for each token",
        )
    return list(found)


def _check_tokens(objective: Objective, group: Group, vocabulary: int) -> None:
    """Refuse token ids that there are not, and masks that do not fit the completions."""
    for tokens in (group.prompt, *group.prompts.values(), *group.completions):
        for token in tokens:
            if not isinstance(token, int) or not 0 <= token < vocabulary:
                raise _wrong(
                    objective,
                    f"`arrange` gave the token id {token!r}",
                    f"whole numbers from 0 to {vocabulary - 1}",
                )
    masks = [len(mask) for mask in group.masks] if group.masks is not None else None
    if masks not in (None, [*map(len, group.completions)]):
        raise _wrong(
            objective,
            f"`arrange` gave masks of {masks} tokens for completions of {[*map(len, group.completions)]}",
            "a mask for each completion, with one value for each of its tokens",
        )


def _check_columns(objective: Objective, group: Group) -> None:
    """Refuse columns that do not hold a number for each completion, or one for each of its tokens."""
    for name, values in group.columns.items():
        if len(values) != len(group.completions):
            raise _wrong(
                objective,
                f"`arrange` gave the column {name!r} {len(values)} values for {len(group.completions)} "
                "completions",
                "one value for each completion",
            )
        listed = isinstance(values[0], tuple | list)
        for value, completion in zip(values, group.completions, strict=True):
            numbers = value if listed and isinstance(value, tuple | list) else (value,)
            right = len(numbers) == (len(completion) if listed else 1)
            if not right or not all(isinstance(number, int | float) for number in numbers):
                raise _wrong(
                    objective,
                    f"`arrange` gave the column {name!r} {value!r} for a completion of "
                    f"{len(completion)} tokens",
                    "numbers: one for each completion, or one for each of its tokens",
                )


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
    if loss.weight is not None:
        _check_weight(objective, loss.weight)
    if isinstance(loss.factor, bool) or not isinstance(loss.factor, int | float) or not isfinite(loss.factor):
        raise _wrong(objective, f"the factor of its loss is {loss.factor!r}", "a finite plain number")
    if loss.metrics is not None and not isinstance(loss.metrics, Mapping):
        raise _wrong(objective, f"the metrics of its loss are {_told(loss.metrics)}", "tensors by name")
    if "loss" in (loss.metrics or {}):
        raise _wrong(objective, "it reports a metric 'loss', which the engine reports", "another name")
    for name, value in (loss.metrics or {}).items():
        if isinstance(value, Average):
            _check_average(objective, name, value)
        if not isinstance(value, Tensor | Average):
            raise _wrong(objective, f"the metric {name!r} is {_told(value)}", "a tensor or an Average")
    for name, value in loss.averages().items():
        if value.weight is not None and value.weight.shape != value.values.shape:
            raise UserError(
                f"the metric {name!r} has values of shape {tuple(value.values.shape)} and weight of shape "
                f"{tuple(value.weight.shape)}; expected equal shapes",
                where=f"objective {objective.name!r}",
            )


def _check_weight(objective: Objective, weight: Tensor) -> None:
    """Refuse weights by which nothing can be averaged."""
    if weight.requires_grad:
        raise _wrong(objective, "the weight of its loss has a gradient", "weight.detach()")
    if not weight.isfinite().all():
        raise _wrong(objective, "the weight of its loss has values that are not finite", "finite weights")
    if (weight < 0).any():
        raise _wrong(objective, "the weight of its loss has negative values", "weights of at least 0")


def _check_average(objective: Objective, name: str, value: Average) -> None:
    """Refuse an average of anything but tensors."""
    for item in (value.values, *(() if value.weight is None else (value.weight,))):
        if not isinstance(item, Tensor):
            raise _wrong(objective, f"the metric {name!r} averages {_told(item)}", "a tensor")


def _wrong(objective: Objective, found: str, expected: str) -> UserError:
    return UserError(f"{found}; expected {expected}", where=f"objective {objective.name!r}")


def _told(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{len(value)} of {', '.join(sorted({type(item).__name__ for item in value})) or 'nothing'}"
    return "None" if value is None else type(value).__name__
