"""Reads the rows of one local file, each with its place. The file is JSONL, a JSON array, CSV or Parquet."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any, TypeAlias

from alignkit.errors import UserError, first_line
from alignkit.example import BadExample

Row: TypeAlias = dict[str, Any]
"""The cells of a row by the names of their columns."""

PlacedRow: TypeAlias = tuple[str, Row | BadExample]
"""A place with the row there, or with the reason why the row cannot be read.

The place is `file:line`, or `file row N` for Parquet, which has no lines.
"""

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")

LONGEST_CELL = 2**31 - 1
"""The most characters in a CSV cell that Python's reader accepts on every system. Its default is 131,072."""


def read_file(path: Path, where: str) -> Iterator[PlacedRow]:
    """Read the rows of a file. Its suffix says how; `.gz` may follow the suffix of JSONL, JSON and CSV.

    Raises UserError for another suffix, and for a Parquet file that cannot be read.
    """
    name = path.name.removesuffix(".gz")
    suffix = Path(name).suffix
    if suffix == ".parquet" and name == path.name:
        return _parquet(path, where)
    if suffix not in SUFFIXES or suffix == ".parquet":
        raise UserError(
            f"{str(path)!r} has a suffix that no reader knows",
            where=where,
            hint=f"Known: {', '.join(SUFFIXES)}, and .gz after the first three.",
        )
    return _closing(path, _csv if suffix == ".csv" else _json)


def count_rows(path: Path) -> int | None:
    """Return how many rows a file has, to tell how much is still to be read; None where it is not known.

    It is the number of lines of JSONL and CSV: more than the rows where lines are blank, or within a cell.
    """
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return parquet.read_metadata(path).num_rows
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            if stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                return None  # the elements of a JSON array are no lines
            stream.seek(0)
            return sum(1 for _ in stream)
    except (OSError, EOFError, ValueError, zlib.error):
        return None  # the reader says what is wrong with it


def _closing(path: Path, read: Callable[[IO[bytes], Path], Iterator[PlacedRow]]) -> Iterator[PlacedRow]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        yield from read(stream, path)  # pyright: ignore[reportArgumentType]  (gzip's stream is a binary stream)


def _lines(stream: IO[bytes], path: Path) -> Iterator[tuple[int, bytes | BadExample]]:
    """Read lines with their numbers, from 1.

    A gzip file that is damaged or ends early gives one BadExample in place of its remaining lines.
    """
    number = 0
    try:
        for number, line in enumerate(stream, start=1):
            yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except (EOFError, gzip.BadGzipFile, zlib.error):
        yield (
            number + 1,
            BadExample("the gzip file is damaged or ends early; nothing after this place can be read"),
        )


def _json(stream: IO[bytes], path: Path) -> Iterator[PlacedRow]:
    """Read a JSON array where the first character that is not blank is `[`, and JSONL otherwise."""
    lines = _lines(stream, path)
    leading: list[tuple[int, bytes | BadExample]] = []
    for number, line in lines:
        leading.append((number, line))
        if isinstance(line, BadExample) or line.strip():
            break
    numbered = chain(leading, lines)
    first = leading[-1][1] if leading else b""
    if isinstance(first, bytes) and first.lstrip().startswith(b"["):
        yield from _json_array(numbered, path)
        return
    for number, line in numbered:
        place = f"{path}:{number}"
        if isinstance(line, BadExample):
            yield place, line
        elif line.strip():
            yield place, _json_object(line)


def _json_object(line: bytes) -> Row | BadExample:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return BadExample("not UTF-8 text")
    except (ValueError, RecursionError):
        return BadExample("not valid JSON")
    return row if isinstance(row, dict) else BadExample("not a JSON object")


def _json_array(numbered: Iterator[tuple[int, bytes | BadExample]], path: Path) -> Iterator[PlacedRow]:
    """Read the elements of an array, each with the line where it begins.

    A syntax error ends the reading: no later element can be found.
    """
    parts: list[bytes] = []
    for number, line in numbered:
        if isinstance(line, BadExample):
            yield f"{path}:{number}", line
            return
        parts.append(line)
    try:
        text = b"".join(parts).decode("utf-8")
    except UnicodeDecodeError as error:
        yield f"{path}:{1 + b''.join(parts)[: error.start].count(10)}", BadExample("not UTF-8 text")
        return
    decoder, at, line, counted = json.JSONDecoder(), text.index("[") + 1, 1, 0
    while True:
        at = _skip(text, at)
        line, counted = line + text.count("\n", counted, at), at
        if text[at : at + 1] == "]":
            return
        try:
            row, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield f"{path}:{line}", BadExample("not valid JSON; nothing after this place can be read")
            return
        yield f"{path}:{line}", row if isinstance(row, dict) else BadExample("not a JSON object")
        at = _skip(text, at)
        if text[at : at + 1] not in (",", "]"):
            yield (
                f"{path}:{line + text.count(chr(10), counted, at)}",
                BadExample("not valid JSON; nothing after this place can be read"),
            )
            return
        at += text[at] == ","


def _skip(text: str, at: int) -> int:
    """Return the next position that holds no white space."""
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _csv(stream: IO[bytes], path: Path) -> Iterator[PlacedRow]:
    """Read CSV with a header line. Every cell is text; formats read the numbers.

    A syntax error ends the reading: any later line may lie inside a cell.
    """
    broken: list[PlacedRow] = []

    def decoded() -> Iterator[str]:
        for number, line in _lines(stream, path):
            if isinstance(line, BadExample):
                broken.append((f"{path}:{number}", line))
                return
            yield line.decode("utf-8", errors="surrogateescape")

    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(decoded(), strict=True)
    header, cells = None, None
    while True:
        place = f"{path}:{reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error:
            yield from broken or [(place, BadExample("not valid CSV; nothing after this place can be read"))]
            return
        if header is None:
            header = cells
        elif cells:
            yield place, _csv_row(header, cells)
    yield from broken


def _csv_row(header: list[str], cells: list[str]) -> Row | BadExample:
    if len(cells) != len(header):
        return BadExample("the line has another number of cells than the header")
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return BadExample("not UTF-8 text")
    return dict(zip(header, cells, strict=True))


def _parquet(path: Path, where: str) -> Iterator[PlacedRow]:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", row
    except (ArrowException, OSError) as error:
        raise UserError(
            f"{str(path)!r} is no readable Parquet file: {first_line(error)}", where=where
        ) from error
