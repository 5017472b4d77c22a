"""Weighted averages of what objectives report, and the file they are written to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignkit.objective import Loss


class Averages:
    """Σ weight·value and Σ weight for each metric, over micro-batches and processes."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, total: float, weight: float) -> None:
        """Add a sum over `weight` items."""
        before = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (before[0] + total, before[1] + weight)

    def add_loss(self, loss: Loss, prefix: str = "") -> None:
        """Add an objective's terms (as `loss`) and its metrics, weighted as the terms where the shapes
        agree.
        """
        import torch

        weight = loss.weight if loss.weight is not None else torch.ones_like(loss.terms)
        for name, value in {"loss": loss.terms, **(loss.metrics or {})}.items():
            value = value.detach().float()
            share = weight.float() if value.shape == weight.shape else torch.ones_like(value)
            # A zero weight leaves an item out, even one that is not finite.
            self.add(
                f"{prefix}{name}", float(torch.where(share > 0, value * share, 0.0).sum()), float(share.sum())
            )

    def means(self) -> dict[str, float]:
        """The averages so far; a metric without weight is left out."""
        return {name: total / weight for name, (total, weight) in self.sums.items() if weight > 0}


class MetricsFile:
    """`metrics.jsonl`: one line a record, each with its step; a resumed run first drops the lines after its
    checkpoint.
    """

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
    """All whole records; a line that a crash cut off is left out."""
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
