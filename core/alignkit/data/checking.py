"""Shapes an example to what an objective learns from, and finds what makes it unusable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alignkit.data.messages import is_blank, speech
from alignkit.data.own_columns import without_numbers_of_completions
from alignkit.data.steps import joined
from alignkit.example import BadExample, Example, taken
from alignkit.objective import DataKind, Demonstrations, Labelled, Preferences, Prompts, Stepwise


class Completions(DataKind):
    """Completions to rank; blank ones are left out and counted."""


class Mismatch(BadExample):
    """A sound example of another kind than the objective learns from.

    If no example fits, the recipe names the wrong data.
    """


@dataclass(frozen=True)
class Need:
    """What a kind of data needs.

    what: the need in words. formats: the built-in formats that may meet it. shape: makes data of the kind
    from an example, and raises Mismatch or BadExample where it cannot.
    """

    what: str
    formats: tuple[str, ...]
    shape: Callable[[Example], Example]


def adapt(example: Example, kind: type[DataKind]) -> Example:
    """Return the example as data of `kind`, checked.

    For Demonstrations that is the best completion, for Prompts no completion, for Preferences the completions
    that can be compared, for Stepwise the completions joined as steps of one. Raises Mismatch where the
    example lacks what `kind` needs, and BadExample with the reason where it cannot be used otherwise.
    """
    if is_blank(example.prompt):
        raise BadExample("empty prompt")
    shaped = needed(kind).shape(example)
    for completion in shaped.completions:
        if is_blank(completion) or (
            not isinstance(completion, str) and not completion[-1]["content"].strip()
        ):
            raise BadExample("empty completion")
        if not isinstance(completion, str):
            if any(message["role"] not in ("assistant", "tool", "user") for message in completion):
                raise BadExample("a completion holds a turn of neither the assistant nor a tool nor the user")
            if completion[-1]["role"] != "assistant":
                raise BadExample("a completion does not end in an assistant's turn")
    return _comparable(shaped) if issubclass(kind, Preferences) else shaped


def needed(kind: type[DataKind]) -> Need:
    """Return the need of `kind`.

    A plugin's own kind, derived from `DataKind` alone, takes every example as it is.
    """
    return next(
        (need for known, need in NEEDS.items() if issubclass(kind, known)),
        Need("examples", (), lambda example: example),
    )


def _demonstration(example: Example) -> Example:
    """Keep the best completion: the first with the lowest rank, else the first that is labelled good."""
    count = len(example.completions)
    if not count:
        raise Mismatch("no completion")
    best = 0
    if "rank" in example.columns:
        best = min(range(count), key=lambda index: example.columns["rank"][index])
    elif "label" in example.columns:
        good = [index for index in range(count) if example.columns["label"][index]]
        if not good:
            raise BadExample("no completion is labelled good")
        best = good[0]
    kept = select(example, [best])
    columns = {
        name: values for name, values in kept.columns.items() if name not in ("rank", "label", "margin")
    }
    return replace(kept, columns=columns)


def _preference(example: Example) -> Example:
    if len(example.completions) < 2:
        raise Mismatch("fewer than two completions")
    if "rank" not in example.columns:
        raise Mismatch("no ranks")
    if len(set(example.columns["rank"])) == 1:
        raise BadExample("all completions tie")
    return example


def _labelled(example: Example) -> Example:
    if not example.completions or "label" not in example.columns:
        raise Mismatch("no label")
    return example


def _stepwise(example: Example) -> Example:
    if not example.completions or "label" not in example.columns:
        raise Mismatch("no labelled steps")
    return joined(example)


def _prompt(example: Example) -> Example:
    return replace(example, completions=(), columns={}, extra=without_numbers_of_completions(example))


RANKED = ("preference", "implicit-preference", "ranking")
NEEDS = {
    Demonstrations: Need(
        "a completion for each prompt", ("prompt-completion", "messages", *RANKED), _demonstration
    ),
    Preferences: Need("two or more ranked completions for each prompt", RANKED, _preference),
    Stepwise: Need("a solution in steps that are each labelled", ("stepwise",), _stepwise),
    Labelled: Need("completions labelled good or bad", ("unpaired-preference",), _labelled),
    Prompts: Need("prompts", ("prompt-only", "messages"), _prompt),
}


def _comparable(example: Example) -> Example:
    """Leave out every completion that occurs twice with different ranks.

    It would be better and worse than itself. Raises BadExample where no two different ranks remain.
    """
    ranks: dict[Any, set[float]] = {}
    for completion, rank in zip(example.completions, example.columns["rank"], strict=True):
        ranks.setdefault(speech(completion), set()).add(rank)
    keep = [
        index for index, completion in enumerate(example.completions) if len(ranks[speech(completion)]) == 1
    ]
    if len({example.columns["rank"][index] for index in keep}) < 2:
        raise BadExample("identical completions of different rank")
    return select(example, keep) if len(keep) < len(example.completions) else example


def without_blank(example: Example) -> Example:
    """Return the example without its blank completions."""
    said = [index for index, completion in enumerate(example.completions) if not is_blank(completion)]
    return select(example, said)


def select(example: Example, indices: Sequence[int]) -> Example:
    """Return the example with only the completions at `indices`, in that order.

    Lists with a number for each completion among the row's other columns are cut in the same way.
    """
    columns = {name: taken(values, indices) for name, values in example.columns.items()}
    count = len(example.completions)
    extra = {
        name: list(taken(cell, indices))
        if name in columns and isinstance(cell, (list, tuple)) and len(cell) == count
        else cell
        for name, cell in example.extra.items()
    }
    completions = taken(example.completions, indices)
    return replace(example, completions=completions, columns=columns, extra=extra)
