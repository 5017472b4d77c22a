"""Writes files that survive a crash: each is whole or absent, and damage is found by its SHA-256."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alignkit.errors import UserError

TENSORS, STATE, HASHES = "tensors.safetensors", "state.json", "manifest.json"


def find_damage(place: Path) -> str | None:
    """Say what is wrong with a folder that `write_verified` wrote; None where nothing is."""
    try:
        hashes = dict(json.loads((place / HASHES).read_text())["sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return f"{HASHES} is missing or unreadable"
    for name, digest in hashes.items():
        if not (place / name).is_file():
            return f"{name} is missing"
        if sha256(place / name) != digest:
            return f"the SHA-256 of {name} differs from its manifest's"
    return None


def write_verified(target: Path, write: Callable[[Path], None]) -> None:
    """Write a folder as `write_folder` does, with the SHA-256 of each file for `find_damage`."""

    def write_with_hashes(place: Path) -> None:
        write(place)
        hashes = {file.name: sha256(file) for file in sorted(place.iterdir())}
        (place / HASHES).write_text(json.dumps({"sha256": hashes}))

    write_folder(target, write_with_hashes)


def write_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside `target`, sync it and rename it into place."""
    beside = target.with_name(f".{target.name}.writing")
    with disk_errors(target):
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        write(beside)
        for file in beside.rglob("*"):
            _sync(file)
        _sync(beside)
        if target.exists():
            shutil.rmtree(target)
        beside.rename(target)
        _sync(target.parent)


def write_text(target: Path, text: str) -> None:
    """Write a file atomically."""
    beside = target.with_name(f".{target.name}.writing")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        _sync(beside)
        beside.replace(target)
        _sync(target.parent)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn a full disk, and places that cannot be read or written, into errors that the user can fix.

    target: the place to name where the error names no file.
    """
    try:
        yield
    except Exception as error:
        place = str(getattr(error, "filename", None) or target)
        number = getattr(error, "errno", None)
        # safetensors reports it in words only
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise UserError(
                "no space left on the disk",
                where=place,
                hint="Free space and run the same command again; it continues from where it stopped.",
            ) from error
        if number == errno.EROFS:
            raise UserError(
                "this place is on a read-only disk", where=place, hint="Choose another place."
            ) from error
        if isinstance(error, PermissionError):
            unreadable = os.path.exists(place) and not os.access(place, os.R_OK)
            done = "read" if unreadable else "written"
            raise UserError(
                f"this place cannot be {done}",
                where=place,
                hint="Change its permissions, or choose another place.",
            ) from error
        raise
