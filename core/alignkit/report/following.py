"""Writes the page again and again while its run goes on, and opens it in a browser."""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

from alignkit.errors import UserError
from alignkit.report.page import write_report
from alignkit.report.sections import Drawn
from alignkit.run.folder import CHECKPOINTS, REPORT_FILES, REPORT_PAGE, SIGNALS, SUPERSEDED
from alignkit.run.lock import is_locked

LOOK_SECONDS, BEGIN_SECONDS = 4.0, 120.0
"""Seconds between two looks at the run's files, and until a run must have begun."""
SHARE, LONGEST_PAUSE = 10, 60.0
"""After writing, pause so many times as long as the processor worked, at most so many seconds."""
NOT_SHOWN = (CHECKPOINTS, SIGNALS, REPORT_FILES, REPORT_PAGE, SUPERSEDED)

Sleep = Callable[[float], None]


def follow(run: Path, *, show: bool = False, sleep: Sleep = time.sleep) -> Path:
    """Write the page whenever files change, until no process does the run and nothing changes any more.

    Return the page's path. show: open the first page in a browser, where there is one. A file that is being
    replaced while it is read is read the next time. Raises UserError where no run begins, and for a run that
    ended and cannot be shown.
    """
    _wait_for_begin(run, sleep)
    drawn, seen, page = Drawn(), None, None
    while True:
        held, found, began = is_locked(run), _state(run), time.process_time()
        if not held and found == seen:
            return write_report(run, drawn=drawn)  # it says no longer that the run goes on
        if found != seen:
            written = _write(run, drawn, live=held)
            if written and show and page is None:
                open_page(written)
            page, seen = written or page, found
        sleep(max(LOOK_SECONDS, min(LONGEST_PAUSE, SHARE * (time.process_time() - began))))


def _write(run: Path, drawn: Drawn, *, live: bool) -> Path | None:
    """Write the page; None where the run is just changing a file that it needs."""
    try:
        return write_report(run, live=live, drawn=drawn)
    except (UserError, OSError):
        return None


def _wait_for_begin(run: Path, sleep: Sleep) -> None:
    waited = 0.0
    while not is_locked(run) and not _state(run):
        if waited >= BEGIN_SECONDS:
            raise UserError(f"no run began here within {BEGIN_SECONDS:.0f} s", where=str(run))
        sleep(0.5)
        waited += 0.5


def _state(run: Path) -> dict[str, tuple[int, int]]:
    """Return the time and the size of every file that the page shows."""
    found = {}
    for folder, below, files in os.walk(run):
        below[:] = [name for name in below if name not in NOT_SHOWN and not name.startswith((".", "adapter"))]
        for name in files:
            if name in NOT_SHOWN or name.startswith("."):
                continue
            path = Path(folder) / name
            try:
                about = path.stat()
            except FileNotFoundError:
                continue
            found[str(path)] = (about.st_mtime_ns, about.st_size)
    return found


def give_way() -> None:
    """Let every other process go first, where the system can do that."""
    if hasattr(os, "nice"):
        os.nice(19)


def open_page(page: Path) -> bool:
    """Open the page in a browser with a window; return whether there is one."""
    windows = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return windows and webbrowser.open(page.resolve().as_uri())
