"""Averages what objectives report, weighted as their terms are."""

from __future__ import annotations

from alignkit.objective import Loss


class Averages:
    """Adds up Σ weight·value and Σ weight of each metric, over micro-batches."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, float]] = {}

    def add_loss(self, loss: Loss, prefix: str = "") -> None:
        """Add an objective's terms, as `loss`, and its metrics."""
        for name, value in {"loss": loss.terms, **(loss.metrics or {})}.items():
            total, weight = loss.weigh(value.detach().float())
            before = self.sums.get(f"{prefix}{name}", (0.0, 0.0))
            self.sums[f"{prefix}{name}"] = (before[0] + float(total), before[1] + weight)

    def means(self) -> dict[str, float]:
        """Return the averages so far; a metric without weight is left out."""
        return {name: total / weight for name, (total, weight) in self.sums.items() if weight > 0}
