"""Files that survive a crash: atomic writes, verified checkpoints, and the lock on a run's folder.

A checkpoint is a folder `step-N` with `tensors.safetensors`, `state.json` and `manifest.json` (SHA-256 of both). It is
written beside its place, synced, then renamed, so it is either absent or whole; one damaged later is refused by name.
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
    """Write `folder/step-N` atomically, then drop all but the newest `keep`; returns the step of the oldest kept."""
    from safetensors.torch import save_file

    def write(place: Path) -> None:
        save_file(checkpoint.tensors, place / TENSORS)
        (place / STATE).write_text(json.dumps({"step": checkpoint.step, **checkpoint.state}))
        hashes = {name: sha256(place / name) for name in (TENSORS, STATE)}
        (place / MANIFEST).write_text(json.dumps({"sha256": hashes}))

    target = folder / f"step-{checkpoint.step:08d}"
    write_folder(target, write)
    places = sorted(folder.glob("step-*"))
    for place in places[:-keep]:
        shutil.rmtree(place)
    return int(places[-keep:][0].name.removeprefix("step-"))


def latest_checkpoint(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint; each damaged one is named through `warn` and passed over."""
    from safetensors.torch import load_file

    for place in sorted(folder.glob("step-*"), reverse=True):
        damage = find_damage(place)
        if damage:
            warn(f"checkpoint {place.name} is damaged ({damage}); using an earlier one")
            continue
        state = json.loads((place / STATE).read_text())
        return Checkpoint(state.pop("step"), load_file(place / TENSORS), state)
    return None


def find_damage(place: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None."""
    try:
        hashes = json.loads((place / MANIFEST).read_text())["sha256"]
    except (OSError, ValueError, KeyError):
        return f"{MANIFEST} is missing or unreadable"
    for name in (TENSORS, STATE):
        if not (place / name).is_file():
            return f"{name} is missing"
        if sha256(place / name) != hashes.get(name):
            return f"the SHA-256 of {name} differs from its manifest's"
    return None


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
    """Tell a full or read-only disk as the user's to mend; safetensors reports it in words only."""
    try:
        yield
    except Exception as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        if full:
            raise UserError(
                "no space left on the disk", where=str(target), hint="Free space and run the same command again; it goes on where it was."
            ) from error
        if isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS:
            raise UserError("this place cannot be written", where=str(target), hint="Choose another folder with --out.") from error
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; a second process is refused at once."""
    from filelock import FileLock, Timeout

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(
            "another process is running in this folder", where=str(folder), hint="Wait for it, or choose another --out."
        ) from error
