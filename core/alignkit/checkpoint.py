"""Files that survive a crash: atomic writes, verified checkpoints, and the lock on a run's folder.

A checkpoint is a folder `step-N` with `tensors.safetensors`, `state.json` and `manifest.json` (SHA-256 of
both). It is written beside its place, synced, then renamed, so it is either absent or whole; one damaged
later is named and removed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.errors import UserError

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a resumed run needs: tensors by name, and numbers."""

    step: int
    tensors: dict[str, Any]
    state: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> int:
    """Write `folder/step-N` atomically, then drop all but the newest `keep`; returns the step of the oldest
    kept.
    """
    from safetensors.torch import save_file

    def write(place: Path) -> None:
        save_file(checkpoint.tensors, place / TENSORS)
        (place / STATE).write_text(json.dumps({"step": checkpoint.step, **checkpoint.state}))

    write_verified(folder / f"step-{checkpoint.step:08d}", write)
    places = sorted(folder.glob("step-*"))
    for place in places[:-keep]:
        shutil.rmtree(place)
    return int(places[-keep:][0].name.removeprefix("step-"))


def latest_checkpoint(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint. Damaged ones before it are named through `warn` and removed: kept, they
    would count as the newest.
    """
    from safetensors.torch import load_file

    for place in sorted(folder.glob("step-*"), reverse=True):
        damage = find_damage(place)
        if damage:
            warn(f"checkpoint {place.name} is damaged ({damage}) and removed")
            with disk_errors(place):
                shutil.rmtree(place)
            continue
        state = json.loads((place / STATE).read_text())
        return Checkpoint(state.pop("step"), load_file(place / TENSORS), state)
    return None


def find_damage(place: Path) -> str | None:
    """What is wrong with a folder that `write_verified` wrote, or None."""
    try:
        hashes = dict(json.loads((place / MANIFEST).read_text())["sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return f"{MANIFEST} is missing or unreadable"
    for name, digest in hashes.items():
        if not (place / name).is_file():
            return f"{name} is missing"
        if sha256(place / name) != digest:
            return f"the SHA-256 of {name} differs from its manifest's"
    return None


def require_numbers(state: dict[str, Any], owner: str) -> None:
    """Refuse a state that a checkpoint cannot carry."""
    for key, value in state.items():
        if not isinstance(value, int | float):
            raise UserError(
                f"it keeps {key!r} in its state, a {type(value).__name__}; numbers are expected",
                where=owner,
                hint=f"Keep a number: state[{key!r}] = float(…).",
            )


def write_verified(target: Path, write: Callable[[Path], None]) -> None:
    """`write_folder`, with a manifest of the SHA-256 of each file that `write` leaves; see `find_damage`."""

    def write_with_hashes(place: Path) -> None:
        write(place)
        hashes = {file.name: sha256(file) for file in sorted(place.iterdir())}
        (place / MANIFEST).write_text(json.dumps({"sha256": hashes}))

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
    """The SHA-256 of a file."""
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
    """Tell a full disk, and places that cannot be read or written, as the user's to mend; `target` where the
    error names no file.
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
                hint="Free space and run the same command again; it goes on where it was.",
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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock; a second process is refused at once."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout as error:
        raise UserError(
            "another process is running in this folder",
            where=str(folder),
            hint="Wait for it, or choose another --out.",
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            "a file stands where a folder is needed", where=str(error.filename), hint="Choose another --out."
        ) from error
    try:
        yield
    finally:
        lock.release()
