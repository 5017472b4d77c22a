"""Reads the numbers of a row as the columns of an example: for each name one number per completion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from numbers import Real
from typing import Any

from alignkit.example import BadExample, Column

SCALARS = ("margin", "weight")
"""Columns with one number per row. It is repeated for each completion."""

LISTS = {"ranks": "rank", "rewards": "reward", "votes": "votes", "labels": "label", "finished": "finished"}
"""Columns of a row that list one number per completion, each with the example's column that it becomes."""

PAIRED = {"votes": "votes", "reward": "reward", "score": "reward"}
"""Columns of a row that come in two: `votes_chosen` and `votes_rejected` become `votes`, and so on."""

WORDS = {"true": 1.0, "false": 0.0}

LARGEST = 3.4028234663852886e38
"""The largest number in float32. A batch holds the columns as float32."""


def number_columns(row: Mapping[str, Any], count: int) -> dict[str, tuple[float, ...]]:
    """Return the columns of an example with `count` completions.

    Rewards without ranks give ranks too: the higher reward is better. A column is left out where its cell is
    null, or empty in CSV. Raises BadExample for a value that is no finite number, and for a list whose length
    is not `count`.
    """
    columns: dict[str, tuple[float, ...]] = {}
    for name, column in LISTS.items():
        if row.get(name) is not None and isinstance(row[name], (list, tuple)):
            if len(row[name]) != count:
                raise BadExample(f"{name!r} has another length than the completions")
            columns[column] = tuple(_required(value, name) for value in row[name])
    if count == 2:
        for name, column in PAIRED.items():
            pair = [number(row.get(f"{name}_{side}"), f"{name}_{side}") for side in ("chosen", "rejected")]
            if column not in columns and pair[0] is not None and pair[1] is not None:
                columns[column] = (pair[0], pair[1])
    for name in SCALARS:
        value = number(row.get(name), name)
        if value is not None:
            columns[name] = (value,) * count
    if "reward" in columns and "rank" not in columns and count > 1:
        columns["rank"] = implied_ranks(columns["reward"])
    return columns


def implied_ranks(rewards: tuple[float, ...]) -> tuple[float, ...]:
    """Rank completions by reward: a rank is the number of different rewards that are higher, from 0."""
    return dense([-reward for reward in rewards])


def dense(ranks: Sequence[float]) -> tuple[float, ...]:
    """Number the ranks 0, 1, … in the same order; equal ranks stay equal.

    Large ranks that differ little, for example times in seconds, would become equal in float32.
    """
    levels = {rank: float(level) for level, rank in enumerate(sorted(set(ranks)))}
    return tuple(levels[rank] for rank in ranks)


def settled(columns: Mapping[str, Sequence[Any]]) -> dict[str, Column]:
    """Return the columns of an example of any format as training reads them: as numbers, with dense ranks.

    Raises BadExample for a value that is no finite number, for a negative weight or vote, and for two
    completions of different rank that both have no vote.
    """
    numbers = {name: tuple(_entry(value, name) for value in values) for name, values in columns.items()}
    for name in ("weight", "votes"):
        if any(value < 0 for value in numbers.get(name, ())):
            raise BadExample(f"{name!r} is negative")
    if "rank" in numbers:
        numbers["rank"] = dense(numbers["rank"])
        if "votes" in numbers:
            ranked = zip(numbers["rank"], numbers["votes"], strict=True)
            if any(
                rank != other_rank and votes + other_votes == 0
                for (rank, votes), (other_rank, other_votes) in combinations(ranked, 2)
            ):
                raise BadExample("'votes' is 0 for both of two completions of different rank")
    return numbers


def number(value: Any, name: str) -> float | None:
    """Return a cell as a number, or None where it is null or empty text.

    Numbers and truth values are read, and the text of both, since CSV has only text. Raises BadExample for
    anything else and for a number that is not finite in float32.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        word = value.strip().lower()
        try:
            value = WORDS[word] if word in WORDS else float(word)
        except ValueError:
            raise BadExample(f"{name!r} is not a number") from None
    if not isinstance(value, Real):
        raise BadExample(f"{name!r} is not a number")
    try:
        found = float(value)
    except OverflowError:  # an integer of more than 308 digits
        found = math.inf
    if not abs(found) <= LARGEST:
        raise BadExample(f"{name!r} is not a finite number in float32")
    return found


def _required(value: Any, name: str) -> float:
    found = number(value, name)
    if found is None:
        raise BadExample(f"{name!r} lacks a number")
    return found


def _entry(value: Any, name: str) -> Any:
    """Return a completion's number, or the numbers of its tokens, which only other names than ours have."""
    if isinstance(value, (list, tuple)) and name not in (*LISTS.values(), *SCALARS):
        return tuple(_required(number, name) for number in value)
    return _required(value, name)


def consumed(row: Mapping[str, Any], count: int) -> set[str]:
    """Return the names of the row's columns that `number_columns` reads for `count` completions."""
    names = {name for name in LISTS if isinstance(row.get(name), (list, tuple))} | {
        name for name in SCALARS if name in row and count
    }
    return names | {
        f"{name}_{side}"
        for name in PAIRED
        for side in ("chosen", "rejected")
        if count == 2 and f"{name}_{side}" in row
    }
