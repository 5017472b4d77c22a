"""Reads numbers under names of one's own, and keeps those that every example has.

An objective reads them as `batch.NAME`. They are numbers of a row, of each of its completions, or of each
token of a completion. A row without one is still used: a batch has the columns that all rows have, and the
report remembers why it has no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from alignkit.data.columns import LISTS, SCALARS, number
from alignkit.example import BadExample, Column, Example, Group
from alignkit.rollouts import Rollouts
from alignkit.signals import BUILT_IN_SIGNALS

T = TypeVar("T")

KNOWN = frozenset({*LISTS.values(), *SCALARS})
"""Columns with a meaning of their own. Every row has them, or none."""

RESERVED = frozenset(
    {
        *LISTS.values(),
        *BUILT_IN_SIGNALS,
        *(field.name for field in fields(Rollouts)),
        *(name for name in dir(Rollouts) if not name.startswith("_")),
        *("rewards", "reward_parts", "token_rewards", "sampler_logps", "source"),
    }
)
"""Names that mean something else in a batch."""

LONGEST_NUMBER = 40
"""The most characters of a text that is read as a number."""

SIDES = ("chosen", "rejected")


class Misfit(BadExample):
    """A column has another number of entries than the completion has tokens."""

    def __init__(self, name: str, entries: int, tokens: int) -> None:
        self.name = name
        super().__init__(
            f"{name!r} has another number of entries than the completion has tokens, its end included",
            f"{entries} entries, {tokens} tokens",
        )


def own_columns(extra: Mapping[str, Any], count: int, *, listed: bool) -> dict[str, Column]:
    """Return the numbers among a row's other columns, `extra`, as columns of `count` completions.

    A cell with one number is repeated for each completion. A list with an entry for each completion gives
    each its number, or its list of numbers, one for each token. So do two cells `NAME_chosen` and
    `NAME_rejected`. Of a single completion a list holds the numbers of its tokens, unless the completions
    are `listed` in the row as well. Cells that are nothing of that are left out, and so are RESERVED names.
    """
    found = {}
    for name, cell in extra.items():
        column = _of_completions(cell, count, listed)
        if column and name not in RESERVED:
            found[name] = column
    if count == len(SIDES):
        for name in (name.removesuffix("_chosen") for name in extra if name.endswith("_chosen")):
            pair = [extra.get(f"{name}_{side}") for side in SIDES]
            column = _entries(pair)
            if column and name not in RESERVED | found.keys():
                found = {key: value for key, value in found.items() if key not in _sides(name)}
                found[name] = column
    return found


def prompt_numbers(extra: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among a row's other columns, without RESERVED names.

    Raises BadExample for a negative weight.
    """
    found = {}
    for name, cell in extra.items():
        value = _number(cell)
        if value is not None and name not in RESERVED:
            found[name] = value
    if found.get("weight", 0) < 0:
        raise BadExample("'weight' is negative")
    return found


def with_numbers_of_rows(examples: Sequence[Example], groups: Sequence[Group]) -> list[Group]:
    """Return the groups with the numbers that every row has, as those of what is sampled for its prompt.

    Numbers of the completions, and those with a meaning of their own, are left out.
    """
    found = [
        {
            name: value
            for name, value in prompt_numbers(without_numbers_of_completions(example)).items()
            if name not in KNOWN
        }
        for example in examples
    ]
    shared = set[str]().union(*found).intersection(*found)
    return [
        replace(group, prompt_columns={**{name: numbers[name] for name in shared}, **group.prompt_columns})
        for group, numbers in zip(groups, found, strict=True)
    ]


def reserved_numbers(extra: Mapping[str, Any]) -> set[str]:
    """Return the names of the row's numbers that are not read because a batch uses their names."""
    return {name for name in RESERVED & extra.keys() if _number(extra[name]) is not None}


def without_numbers_of_completions(example: Example) -> dict[str, Any]:
    """Return the row's other columns without the numbers of two or more completions.

    They would be taken for those of the completions that are sampled in their place.
    """
    if len(example.completions) < len(SIDES):
        return dict(example.extra)
    gone = {side for name in example.columns for side in _sides(name)}
    return {
        name: cell
        for name, cell in example.extra.items()
        if name not in gone and not (name in example.columns and isinstance(cell, (list, tuple)))
    }


def is_per_token(column: Column) -> bool:
    """Tell whether a column holds numbers of tokens; otherwise it holds one number for each completion."""
    return bool(column) and isinstance(column[0], tuple)


def check_lengths(columns: Mapping[str, Column], completions: Sequence[list[int]]) -> None:
    """Raise Misfit where a column of numbers of tokens has not one entry for each token."""
    for name, column in columns.items():
        if is_per_token(column):
            for numbers, tokens in zip(column, completions, strict=True):
                if len(numbers) != len(tokens):
                    raise Misfit(name, len(numbers), len(tokens))


@dataclass
class OwnColumns:
    """Remembers what was found out about the columns of the rows so far.

    fitting: columns with numbers of tokens, as an earlier row has shown. left_out: for each other name of
    which numbers were found, why it is no column of the batch.
    """

    fitting: set[str] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)

    def encode(self, example: Example, encode: Callable[[Example], Group], place: str) -> Group:
        """Return the tokens of an example with the columns that fit them.

        The first row that has a list under a name decides: where its entries are not those of the tokens, the
        lists of this name are something else. Raises Misfit where a later row alone does not fit.
        """
        while True:
            columns = self.kept(example.columns)
            try:
                group = encode(replace(example, columns=columns))
            except Misfit as misfit:
                if misfit.name in self.fitting:
                    raise
                self.left_out[misfit.name] = f"{misfit} ({place}: {misfit.detail})"
                continue
            self.fitting |= {name for name, column in columns.items() if is_per_token(column)}
            return group

    def settle(self, groups: Sequence[Group], places: Sequence[str]) -> list[Group]:
        """Return the groups with the columns that all of them have, each of one kind.

        places: those of the groups' rows, which `left_out` names.
        """
        kinds: dict[str, bool] = {}
        having: dict[str, set[int]] = {}
        for row, group in enumerate(groups):
            for name, column in (*group.columns.items(), *group.prompt_columns.items()):
                kind = isinstance(column, tuple) and is_per_token(column)
                if kinds.setdefault(name, kind) == kind:
                    having.setdefault(name, set()).add(row)
        for name, rows in having.items():
            if len(rows) < len(groups):
                first = next(row for row in range(len(groups)) if row not in rows)
                self.left_out[name] = (
                    f"only {len(rows):,} of {len(groups):,} rows have numbers {name!r}; "
                    f"the first without is {places[first]}"
                )
        return [
            replace(group, columns=self.kept(group.columns), prompt_columns=self.kept(group.prompt_columns))
            for group in groups
        ]

    def kept(self, columns: Mapping[str, T]) -> dict[str, T]:
        """Return the columns without those that were left out."""
        return {name: column for name, column in columns.items() if name not in self.left_out}


def _sides(name: str) -> set[str]:
    return {f"{name}_{side}" for side in SIDES}


def _of_completions(cell: Any, count: int, listed: bool) -> Column | None:
    """Return a cell as a column of `count` completions, or None where it is not one."""
    value = _number(cell)
    if value is not None:
        return (value,) * count
    if not isinstance(cell, (list, tuple)) or not cell:
        return None
    if len(cell) == count and (count > 1 or listed or isinstance(cell[0], (list, tuple))):
        return _entries(cell)
    return _entries([cell]) if count == 1 else None


def _entries(cells: Sequence[Any]) -> Column | None:
    """Return numbers, or lists of numbers, as a column; None where they are neither, or both."""
    numbers = [_number(cell) for cell in cells]
    if all(value is not None for value in numbers):
        return tuple(numbers)
    lists = [_numbers(cell) for cell in cells]
    return tuple(lists) if all(lists) else None


def _numbers(cell: Any) -> tuple[float, ...] | None:
    if not isinstance(cell, (list, tuple)):
        return None
    found = tuple(value for value in map(_number, cell) if value is not None)
    return found if len(found) == len(cell) else None


def _number(cell: Any) -> float | None:
    """Return a cell as a number, or None where it is not one."""
    if isinstance(cell, (list, dict)) or (isinstance(cell, str) and len(cell) > LONGEST_NUMBER):
        return None
    try:
        return number(cell, "")
    except BadExample:  # not every column holds numbers
        return None
