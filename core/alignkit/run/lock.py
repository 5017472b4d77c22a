"""Locks a run's folder, so that two processes never write into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alignkit.errors import UserError
from alignkit.run.files import disk_errors

LOCK = ".lock"
PATIENCE = 0.3
"""Seconds for which a run waits for the lock: `is_locked` of another process holds it for an instant."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock; a second process is refused."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=PATIENCE)
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


def is_locked(folder: Path) -> bool:
    """Tell whether a process holds the folder's lock. To find out, the lock is taken for an instant."""
    from filelock import FileLock, Timeout

    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False
