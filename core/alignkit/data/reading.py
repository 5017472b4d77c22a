"""Finds where a recipe's data lies (a file, a saved folder, the hub) and reads its rows, each with its
place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.data.files import SUFFIXES, Row, read_file
from alignkit.data.formats import Unrecognised, choose, parse
from alignkit.errors import UserError, first_line, nearest
from alignkit.example import BadExample, Example
from alignkit.registry import Format

if TYPE_CHECKING:
    from alignkit.recipe import DataEntry


def is_local(path: str) -> bool:
    """Whether a data path means this machine: it exists, is written like a path, or ends like a data file.
    Else it is a hub name.
    """
    return (
        Path(path).expanduser().exists()
        or path.startswith((".", "/", "~"))
        or path.endswith((*SUFFIXES, ".gz"))
    )


def read_rows(spec: DataEntry, where: str) -> Iterator[Row]:
    """Every row of the data with its place, columns renamed. A row that cannot be read is a BadExample in the
    row's stead.

    `where` is the recipe's key path, for messages. Raises UserError where there is no such file, folder, name
    or split, or where `rename` names a column that the first row lacks.
    """
    rows = _local(spec, where) if is_local(spec.path) else _hub(spec, where)
    rows = _after(rows, spec.skip, where) if spec.skip else rows
    return _renamed(rows, spec.rename, where) if spec.rename else rows


def read_examples(
    spec: DataEntry, formats: Mapping[str, Format], where: str
) -> Iterator[tuple[str, Mapping[str, Any], Example | BadExample]]:
    """Every row's place, its columns (none where it cannot be read), and the example in it, or the BadExample
    that says why there is none.

    `formats` are the plugins'. Raises UserError as `read_rows` does, and where no format fits the first rows.
    """
    recognised = False
    for place, row in read_rows(spec, where):
        if isinstance(row, BadExample):
            yield place, {}, row
            continue
        try:
            chosen = choose(row, spec.format, formats, place, where)
            recognised = True
            example = parse(chosen, row, place)
        except Unrecognised:
            if not recognised:
                raise
            example = BadExample("no format fits the row's columns")
        except BadExample as reason:
            example = reason
        yield place, row, example


def _after(rows: Iterator[Row], skip: int, where: str) -> Iterator[Row]:
    """The rows behind the first `skip`."""
    count = 0
    for count, row in enumerate(rows, start=1):
        if count > skip:
            yield row
    if count <= skip:
        raise UserError(
            f"nothing is left: skip is {skip}, and the data has {count} rows", where=f"{where}.skip"
        )


def _local(spec: DataEntry, where: str) -> Iterator[Row]:
    path = Path(spec.path).expanduser()
    if not path.exists():
        raise _missing(path, where)
    for setting, value in (("subset", spec.subset), ("revision", spec.revision)):
        if value is not None:
            raise UserError(
                f"{spec.path!r} is on this machine, so {setting} {value!r} has no meaning",
                where=f"{where}.{setting}",
            )
    if path.is_dir():
        return _saved(path, spec.split, where)
    if spec.split != "train":
        raise UserError(
            f"a single file has only the split 'train', found {spec.split!r}",
            where=f"{where}.split",
            hint="Leave `split` out, or give the path of the file that holds that split.",
        )
    return read_file(path, f"{where}.path")


def _missing(path: Path, where: str) -> UserError:
    folder = path.parent
    while not folder.is_dir():
        path, folder = folder, folder.parent
    close = get_close_matches(path.name, [entry.name for entry in folder.iterdir()], n=1, cutoff=0.5)
    hint = (
        f"Did you mean {str(folder / close[0])!r}?"
        if close
        else ("Relative paths start where alignkit was called.")
    )
    return UserError(f"{str(path)!r} does not exist", where=f"{where}.path", hint=hint)


def _saved(path: Path, split: str, where: str) -> Iterator[Row]:
    """The rows of a folder that `datasets`' `save_to_disk` wrote; without splits of its own it is the split
    'train'.
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
    return _numbered(splits[split], str(path))


def _hub(spec: DataEntry, where: str) -> Iterator[Row]:
    from datasets import load_dataset

    try:
        rows = load_dataset(spec.path, spec.subset, split=spec.split, revision=spec.revision)
    except Exception as error:
        # Offline, unknown, private, unknown split or subset: `datasets` raises a dozen unrelated classes for
        # these.
        raise UserError(
            f"{spec.path!r} is no file here, and the hub does not give it: {first_line(error)}",
            where=f"{where}.path",
            hint="A local file needs its suffix, or ./ before it. A hub name needs a network, or an earlier "
            "download.",
        ) from error
    return _numbered(rows, spec.path)


def _numbered(rows: Any, name: str) -> Iterator[Row]:
    for number, row in enumerate(rows, start=1):
        yield f"{name} row {number}", row


def _renamed(rows: Iterator[Row], rename: dict[str, str], where: str) -> Iterator[Row]:
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


def _check_rename(row: dict[str, Any], rename: dict[str, str], place: str, where: str) -> None:
    for old, new in rename.items():
        if old not in row:
            raise UserError(
                f"there is no column {old!r} at {place}", where=f"{where}.rename", hint=nearest(old, row)
            )
        if new in row and new not in rename:
            raise UserError(
                f"the column {old!r} cannot be renamed to {new!r}: there is such a column at {place}",
                where=f"{where}.rename",
                hint=f"Rename {new!r} too.",
            )
