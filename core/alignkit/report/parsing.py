"""Reads files of a run that may still be growing, and names the file and line that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from alignkit.errors import UserError

Row = TypeVar("Row")


@contextmanager
def readable(path: Path, line: int | None = None) -> Iterator[None]:
    """Turn whatever goes wrong with a file's contents into an error that names the file and the line."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"this file is not as alignkit writes it ({type(error).__name__}: {error})",
            where=f"{path}, line {line}" if line else str(path),
            hint="Run the stage again: move its folder away, then `alignkit run` makes it anew.",
        ) from error


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a file's mapping, or None where there is no file."""
    if not path.is_file():
        return None
    with readable(path):
        found = json.loads(path.read_text(encoding="utf-8"))
        return dict(found)


def read_rows(path: Path, parse: Callable[[Any], Row], most: int | None = None) -> tuple[Row, ...]:
    """Return what the first `most` lines say; nothing where there is no file.

    A last line without its end is still being written, and is left out.
    """
    rows: list[Row] = []
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8") as lines:  # `splitlines` would also cut at separators inside a text
        for number, line in enumerate(lines, start=1):
            if len(rows) == most or not line.endswith("\n"):
                break
            with readable(path, number):
                rows.append(parse(json.loads(line)))
    return tuple(rows)


def count_rows(path: Path) -> int:
    """Return the number of whole lines."""
    with path.open("rb") as lines:
        return sum(line.endswith(b"\n") for line in lines)
