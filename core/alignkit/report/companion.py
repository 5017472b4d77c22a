"""Lets another process write a run's page while this one does the run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def followed(run: Path, note: Callable[[str], None]) -> Iterator[None]:
    """Let a process of low priority write the page of `run` and open it in a browser, until this block ends.

    Whatever happens to that process, the run goes on. It ends by itself where the run fails or is killed.
    note: tells the user where it cannot be started.
    """
    program = "from alignkit.cli import main; main()"
    command = [sys.executable, "-c", program, "report", str(run), "--follow", "--open"]
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        child = subprocess.Popen(
            command,
            env={**os.environ, **one_core},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        note(f"the page is not written while the run goes on: {error}")
        yield
        return
    yield
    child.terminate()  # where the run failed it stays, writes the last page by itself, and ends
    child.wait()
