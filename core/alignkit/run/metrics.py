"""Writes and reads `metrics.jsonl`, the numbers of every step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


class MetricsFile:
    """Appends a line per record to `metrics.jsonl`. A resumed run first drops what its checkpoint lacks."""

    def __init__(self, path: Path, resume_step: int) -> None:
        self.path = path
        kept = [line for line in read_metrics(path) if line["step"] <= resume_step] if resume_step else []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a record."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return all whole records; a last line that a crash cut off is left out."""
    if not path.is_file():
        return []
    lines = path.read_text().splitlines()
    records = []
    for number, line in enumerate(lines):
        try:
            records.append(json.loads(line))
        except ValueError:
            if number < len(lines) - 1:
                raise
    return records
