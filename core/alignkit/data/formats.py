"""Chooses the format of a row, among those of plugins and the built-in ones, and reads the row with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from alignkit.data.builtin_formats import BUILT_IN
from alignkit.data.columns import settled
from alignkit.data.files import Row
from alignkit.data.messages import read_text
from alignkit.data.own_columns import own_columns
from alignkit.errors import UserError, named, nearest, raised_at
from alignkit.example import BadExample, Example
from alignkit.registry import Format


class Unrecognized(UserError):
    """No format fits the row."""


def choose(row: Row, wanted: str, formats: Mapping[str, Format], place: str, where: str) -> Format:
    """Return the format of a row: the one that the recipe names, or the first that matches.

    `wanted` is "auto" where the recipe names none. `formats` are the plugins'; they come before the built-in
    ones. Raises UserError for an unknown name, and Unrecognized for a row that no format recognizes, or that
    the named format does not recognize.
    """
    known = {**BUILT_IN, **formats}
    if wanted != "auto" and wanted not in known:
        raise UserError(
            f"no format is called {wanted!r}", where=f"{where}.format", hint=nearest(wanted, ["auto", *known])
        )
    candidates = [known[wanted]] if wanted != "auto" else [*formats.values(), *BUILT_IN.values()]
    for candidate in candidates:
        if _guarded(candidate, candidate.matches, row, place):
            return candidate
    raise _unrecognized(row, candidates, place, where)


def parse(chosen: Format, row: Row, place: str) -> Example:
    """Read the row with its format, and check the texts and columns that the format returns.

    Numbers among the row's other columns become columns too, under their own names.

    Raises BadExample for a row that cannot be used, and UserError for a format that fails.
    """
    example = _guarded(chosen, chosen.parse, row, place)
    if not isinstance(example, Example):
        raise UserError(
            f"the format {chosen.name!r} returned {type(example).__name__}, not an Example", where=place
        )
    for name, values in example.columns.items():
        if len(values) != len(example.completions):
            raise UserError(
                f"the format {chosen.name!r} gave column {name!r} another length than the completions",
                where=place,
            )
    completions = tuple(read_text(text, "completion") for text in example.completions)
    own = own_columns(example.extra, len(completions), listed="completions" in chosen.columns)
    return replace(
        example,
        prompt=read_text(example.prompt, "prompt"),
        completions=completions,
        columns={**(own if completions else {}), **settled(example.columns)},
    )


def _guarded(chosen: Format, call: Callable[[Row], Any], row: Row, place: str) -> Any:
    """Call a function of the format. An error in it becomes a UserError that names the format."""
    try:
        return call(row)
    except (BadExample, UserError):
        raise
    except Exception as error:
        raise UserError(
            f"the {named('format', chosen.name, chosen.plugin)} fails: {type(error).__name__}: {error} "
            f"({raised_at(error, call)})",
            where=place,
        ) from error


def _unrecognized(row: Row, tried: list[Format], place: str, where: str) -> Unrecognized:
    expected = [
        f"  {format.name}: {', '.join(format.columns)}"
        if format.columns
        else f"  {format.name} (of a plugin)"
        for format in tried
    ]
    subject = f"the format {tried[0].name!r} does not fit" if len(tried) == 1 else "no format fits"
    hints = rename_hint(row, [format.columns for format in tried])
    return Unrecognized(
        f"{subject} the row at {place}, whose columns are: {', '.join(map(str, row)) or 'none'}",
        where=where,
        hint="\n".join(["Columns expected:", *expected, *hints]),
    )


def rename_hint(row: Mapping[str, Any], wanted: Iterable[tuple[str, ...]]) -> list[str]:
    """Return a line that offers to rename the row's column closest to a missing one.

    `wanted` holds the columns of each format that would do. Where no column is close, the line says how
    columns are renamed. There is no line where the row has no column to rename, or no column is wanted.
    """
    known = {column for format in BUILT_IN.values() for column in format.columns}
    free = [str(column) for column in row if column not in known]
    needed = list(dict.fromkeys(column for columns in wanted for column in columns))
    for missing in needed:
        close = get_close_matches(missing, free, n=1, cutoff=0.6) if missing not in row else []
        if close:
            return [f"Perhaps: `rename: {{{close[0]}: {missing}}}`."]
    if needed and free:
        return ["Columns are renamed with `rename: {FOUND: EXPECTED}` in the recipe's data entry."]
    return []
