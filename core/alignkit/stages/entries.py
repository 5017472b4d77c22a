"""Finds the files of a recipe's data entries."""

from __future__ import annotations

import os
from pathlib import Path

from alignkit.data.builtin_formats import BUILT_IN
from alignkit.data.reading import is_local
from alignkit.errors import UserError, nearest
from alignkit.recipe import DataEntry
from alignkit.registry import Registry


def resolve(entry: DataEntry, beside: Path, where: str, registry: Registry) -> DataEntry:
    """Return the entry with a path that can be opened; a hub name stays as it is.

    A relative path is looked for here, then in the folder `beside`. Raises UserError, at the key path
    `where`, for a local path that does not exist, and for an unknown format.
    """
    known = {**BUILT_IN, **registry.formats.items}
    if entry.format != "auto" and entry.format not in known:
        raise UserError(
            f"no format is called {entry.format!r}",
            where=f"{where}.format",
            hint=nearest(entry.format, known),
        )
    if not is_local(entry.path):
        return entry
    for place in (Path(entry.path).expanduser(), beside / entry.path):
        if os.path.exists(place):  # unlike Path.exists, no error where a folder may not be searched
            return entry.model_copy(update={"path": str(place)})
    folder = Path(entry.path).expanduser().parent
    files = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    hint = nearest(Path(entry.path).name, files) if files else f"There is no folder {str(folder)!r} either."
    raise UserError(f"no file {entry.path!r}", where=f"{where}.path", hint=hint)
