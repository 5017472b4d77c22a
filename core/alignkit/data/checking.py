"""Shapes an example to what an objective learns from, and finds what makes it unusable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, TypeVar

from alignkit.data.messages import is_blank, speech
from alignkit.example import BadExample, Example
from alignkit.objective import DataKind, Demonstrations, Labelled, Preferences, Prompts

T = TypeVar("T")


class Completions(DataKind):
    """Completions to rank, whatever their columns; blank ones are left out and counted."""


class Mismatch(BadExample):
    """The example is sound, but is not what the objective learns from. Where no example fits, the data is the
    wrong one.
    """


def without_blank(example: Example) -> Example:
    """Return the example without its blank completions."""
    said = [place for place, completion in enumerate(example.completions) if not is_blank(completion)]
    return select(example, said)


def adapt(example: Example, kind: type[DataKind]) -> Example:
    """The example as data of `kind`, checked: the best completion for Demonstrations, none for Prompts,
    comparable ones for Preferences.

    Raises BadExample with the reason where it cannot be used, Mismatch where it lacks what `kind` needs.
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
            if any(message["role"] not in ("assistant", "tool") for message in completion):
                raise BadExample("a completion holds a turn that is neither the assistant's nor a tool's")
            if completion[-1]["role"] != "assistant":
                raise BadExample("a completion does not end in an assistant's turn")
    return _comparable(shaped) if issubclass(kind, Preferences) else shaped


def _demonstration(example: Example) -> Example:
    """The best-ranked completion, the first of several; of labelled ones the first that is good."""
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
    return replace(
        kept,
        columns={
            name: values for name, values in kept.columns.items() if name not in ("rank", "label", "margin")
        },
    )


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


def _prompt(example: Example) -> Example:
    return replace(example, completions=(), columns={})


@dataclass(frozen=True)
class Need:
    """What a kind of data needs: in words, the built-in formats that may give it, and the function that
    shapes an example to it.
    """

    what: str
    formats: tuple[str, ...]
    shape: Callable[[Example], Example]


RANKED = ("preference", "implicit-preference", "ranking")
NEEDS = {
    Demonstrations: Need(
        "a completion for each prompt", ("prompt-completion", "messages", *RANKED), _demonstration
    ),
    Preferences: Need("two or more ranked completions for each prompt", RANKED, _preference),
    Labelled: Need("completions labelled good or bad", ("unpaired-preference",), _labelled),
    Prompts: Need("prompts", ("prompt-only", "messages"), _prompt),
}


def needed(kind: type[DataKind]) -> Need:
    """The need of `kind`; a plugin's own kind, derived from `DataKind` alone, takes every example as it
    is.
    """
    return next(
        (need for known, need in NEEDS.items() if issubclass(kind, known)),
        Need("examples", (), lambda example: example),
    )


def _comparable(example: Example) -> Example:
    """Without completions that occur twice with different ranks: they are better and worse than
    themselves.
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


def select(example: Example, indices: Sequence[int]) -> Example:
    """The example with only these of its completions, in this order."""
    columns = {name: _take(values, indices) for name, values in example.columns.items()}
    return replace(example, completions=_take(example.completions, indices), columns=columns)


def _take(values: tuple[T, ...], indices: Sequence[int]) -> tuple[T, ...]:
    return tuple(values[index] for index in indices)


@dataclass
class Contradictions:
    """Remembers which completion was preferred to which under each prompt, to refuse a later example that
    says the opposite.
    """

    seen: set[bytes] = field(default_factory=set)

    def check(self, example: Example) -> None:
        """Remember the example's pairs. Raises BadExample where an earlier example ordered one of them the
        other way round.
        """
        if "rank" not in example.columns or len(example.completions) < 2:
            return
        prompt, ranks = speech(example.prompt), example.columns["rank"]
        said = [speech(completion) for completion in example.completions]
        ordered = [(a, b) for a in range(len(said)) for b in range(len(said)) if ranks[a] < ranks[b]]
        if any(_digest(prompt, said[b], said[a]) in self.seen for a, b in ordered):
            raise BadExample("contradicts an earlier pair of the same prompt")
        self.seen.update(_digest(prompt, said[a], said[b]) for a, b in ordered)


def _digest(*speeches: tuple[tuple[str, str], ...]) -> bytes:
    return blake2b(repr(speeches).encode(), digest_size=16).digest()
