"""Averages what objectives report, weighted as their terms are."""

from __future__ import annotations

from collections.abc import Sequence

from alignkit.objective import Average, Loss

LOSS = "loss"


class Averages:
    """Adds up Σ weight·value and Σ weight of an objective's terms and metrics, over micro-batches."""

    def __init__(self) -> None:
        self.metrics: dict[str, tuple[float, float]] = {}
        self.terms: dict[int, tuple[float, float]] = {}
        self.factors: dict[int, float] = {}

    def add(self, losses: Sequence[Loss]) -> None:
        """Add the terms and metrics of the losses that `loss` returned for one batch."""
        for place, loss in enumerate(losses):
            self.factors[place] = loss.factor
            _add(self.terms, place, Average(loss.terms, loss.weight))
            for name, value in loss.averages().items():
                _add(self.metrics, name, value)

    def means(self) -> dict[str, float]:
        """Return the averages so far; of several losses, `loss` is the sum times their factors.

        What has no weight is left out.
        """
        terms = {place: total / weight for place, (total, weight) in self.terms.items() if weight > 0}
        loss = {LOSS: sum(self.factors[place] * mean for place, mean in terms.items())} if terms else {}
        return loss | {name: total / weight for name, (total, weight) in self.metrics.items() if weight > 0}


def _add(sums: dict, key: object, value: Average) -> None:
    detached = Average(value.values.detach().float(), value.weight)
    total, weight = detached.sums()
    before = sums.get(key, (0.0, 0.0))
    sums[key] = (before[0] + float(total), before[1] + weight)
