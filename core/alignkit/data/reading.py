"""Finds a recipe's data in a file, a saved folder or on the hub, and reads its rows, each with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.data.files import SUFFIXES, PlacedRow, Row, count_rows, read_file
from alignkit.data.formats import Unrecognized, choose, parse
from alignkit.errors import UserError, first_line, nearest
from alignkit.example import BadExample, Example
from alignkit.registry import Format

if TYPE_CHECKING:
    from alignkit.recipe import DataEntry


def is_local(path: str) -> bool:
    """Tell whether a data path means this machine; otherwise it is the name of a data set on the hub.

    A local path exists, or begins like a path, or ends like a data file.
    """
    return (
        Path(path).expanduser().exists()
        or path.startswith((".", "/", "~"))
        or path.endswith((*SUFFIXES, ".gz"))
    )


def read_rows(
    entry: DataEntry, where: str, expect: Callable[[int], None] = lambda rows: None
) -> Iterator[PlacedRow]:
    """Read every row of the data with its place, with columns renamed as the entry says.

    A row that cannot be read is replaced by a BadExample. `where` is the recipe's key path, for messages.
    `expect` is called with the number of rows, where it can be told before they are read. Raises UserError
    where the file, folder, name or split does not exist, where `skip` leaves nothing, and where the first row
    does not allow `rename`.
    """
    rows = _local(entry, where, expect) if is_local(entry.path) else _hub(entry, where, expect)
    rows = _after(rows, entry.skip, where) if entry.skip else rows
    return _renamed(rows, entry.rename, where) if entry.rename else rows


def read_examples(
    entry: DataEntry,
    formats: Mapping[str, Format],
    where: str,
    expect: Callable[[int], None] = lambda rows: None,
) -> Iterator[tuple[str, Mapping[str, Any], Example | BadExample]]:
    """Read every row as an example: give its place, its columns, and the example.

    A BadExample in place of the example says why a row gives none. The columns of a row that cannot be read
    are empty. `formats` are the plugins'. Raises UserError as `read_rows` does, and where no format fits the
    first row that can be read.
    """
    recognized = False
    for place, row in read_rows(entry, where, expect):
        if isinstance(row, BadExample):
            yield place, {}, row
            continue
        try:
            chosen = choose(row, entry.format, formats, place, where)
            recognized = True
            example = parse(chosen, row, place)
        except Unrecognized:
            if not recognized:
                raise
            example = BadExample("no format fits the row's columns")
        except BadExample as reason:
            example = reason
        yield place, row, example


def _after(rows: Iterator[PlacedRow], skip: int, where: str) -> Iterator[PlacedRow]:
    """Leave out the first `skip` rows."""
    count = 0
    for count, row in enumerate(rows, start=1):
        if count > skip:
            yield row
    if count <= skip:
        raise UserError(
            f"nothing is left: skip is {skip}, and the data has {count} rows", where=f"{where}.skip"
        )


def _local(entry: DataEntry, where: str, expect: Callable[[int], None]) -> Iterator[PlacedRow]:
    path = Path(entry.path).expanduser()
    if not path.exists():
        raise _missing(path, where)
    for setting, value in (("subset", entry.subset), ("revision", entry.revision)):
        if value is not None:
            raise UserError(
                f"{entry.path!r} is on this machine, so {setting} {value!r} has no meaning",
                where=f"{where}.{setting}",
            )
    if path.is_dir():
        return _saved(path, entry.split, where, expect)
    if entry.split != "train":
        raise UserError(
            f"a single file has only the split 'train', found {entry.split!r}",
            where=f"{where}.split",
            hint="Leave `split` out, or give the path of the file that holds that split.",
        )
    rows = read_file(path, f"{where}.path")
    count = count_rows(path)
    if count is not None:
        expect(count)
    return rows


def _missing(path: Path, where: str) -> UserError:
    folder = path.parent
    while not folder.is_dir():
        path, folder = folder, folder.parent
    close = get_close_matches(path.name, [file.name for file in folder.iterdir()], n=1, cutoff=0.5)
    hint = (
        f"Did you mean {str(folder / close[0])!r}?"
        if close
        else "Relative paths start where alignkit was called."
    )
    return UserError(f"{str(path)!r} does not exist", where=f"{where}.path", hint=hint)


def _saved(path: Path, split: str, where: str, expect: Callable[[int], None]) -> Iterator[PlacedRow]:
    """Read the rows of a folder that `save_to_disk` of `datasets` wrote.

    A folder without splits is the split 'train'.
    """
    if not (path / "dataset_dict.json").is_file() and not (path / "state.json").is_file():
        raise UserError(
            f"the folder {str(path)!r} was not written by datasets' save_to_disk: it has neither "
            "dataset_dict.json nor state.json",
            where=f"{where}.path",
            hint="Give the path of one data file in it.",
        )
    from datasets import DatasetDict, load_from_disk

    try:
        saved = load_from_disk(path)
    except Exception as error:
        raise UserError(
            f"the folder {str(path)!r} cannot be read: {first_line(error)}", where=f"{where}.path"
        ) from error
    splits = dict(saved) if isinstance(saved, DatasetDict) else {"train": saved}
    if split not in splits:
        raise UserError(
            f"{str(path)!r} has no split {split!r}",
            where=f"{where}.split",
            hint=nearest(split, map(str, splits)),
        )
    expect(len(splits[split]))
    return _numbered(splits[split], str(path))


def _hub(entry: DataEntry, where: str, expect: Callable[[int], None]) -> Iterator[PlacedRow]:
    from datasets import load_dataset

    try:
        rows = load_dataset(entry.path, entry.subset, split=entry.split, revision=entry.revision)
    except Exception as error:
        # `datasets` raises a dozen unrelated classes where a name, split or subset is unknown or private,
        # and without a network.
        raise UserError(
            f"{entry.path!r} is no file here, and the hub does not give it: {first_line(error)}",
            where=f"{where}.path",
            hint="A local file needs its suffix, or ./ before it. A hub name needs a network, or an earlier "
            "download.",
        ) from error
    expect(len(rows))
    return _numbered(rows, entry.path)


def _numbered(rows: Any, name: str) -> Iterator[PlacedRow]:
    for number, row in enumerate(rows, start=1):
        yield f"{name} row {number}", row


def _renamed(rows: Iterator[PlacedRow], rename: dict[str, str], where: str) -> Iterator[PlacedRow]:
    """Rename the columns of each row. The first row that can be read is checked."""
    checked = False
    for place, row in rows:
        if isinstance(row, BadExample):
            yield place, row
            continue
        if not checked:
            _check_rename(row, rename, place, where)
            checked = True
        renamed = {rename.get(column, column): value for column, value in row.items()}
        yield (
            place,
            renamed if len(renamed) == len(row) else BadExample("`rename` gives two columns the same name"),
        )


def _check_rename(row: Row, rename: dict[str, str], place: str, where: str) -> None:
    """Raise UserError where `rename` names a column that the row lacks, or gives a name that it has."""
    for old, new in rename.items():
        if old not in row:
            raise UserError(
                f"there is no column {old!r} at {place}", where=f"{where}.rename", hint=nearest(old, row)
            )
        if new in row and new not in rename:
            raise UserError(
                f"the column {old!r} cannot be renamed to {new!r}: the row at {place} has such a column",
                where=f"{where}.rename",
                hint=f"Rename {new!r} too.",
            )
