"""Remembers the numbers of a task, and writes the newest of them in one line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from alignkit.display.trend import leading, trend
from alignkit.measure import Metric
from alignkit.training.metrics import HELD_OUT, MEMORY, SPEED


class Numbers:
    """The numbers that a task has shown, by name, the oldest first.

    A metric that a step does not have keeps its newest number: some are measured once in several steps.
    metrics: the labels of the numbers; details are not shown.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics
        self.seen: dict[str, list[float]] = defaultdict(list)

    def add(self, values: Mapping[str, float]) -> None:
        """Take the numbers of a step; whatever else stands beside them is passed over."""
        for name, value in values.items():
            if isinstance(value, int | float):
                self.seen[name].append(value)

    def line(self, values: Mapping[str, float]) -> str:
        """Write the metric that matters first, then the others, then speed and memory.

        values: the newest step's. Where it was measured on held-out data, those numbers take the place of the
        others.
        """
        first = leading(self.metrics, self.seen)
        details = {name for name, metric in self.metrics.items() if metric.detail} | {SPEED, MEMORY}
        held_out = [name for name in values if name.startswith(HELD_OUT)]
        training = [name for name in self.seen if name not in details and not name.startswith(HELD_OUT)]
        told = [f"{HELD_OUT}{first}", first]
        parts = [self._leading(first)] if first else []
        parts += [self._newest(name) for name in held_out or training if name not in told]
        if SPEED in values:
            parts += [f"{values[SPEED]:.0f} tokens/s", f"{values[MEMORY]:.1f} GB"]
        return "  ".join(parts)

    def _leading(self, name: str) -> str:
        going, held_out = trend(self.seen[name]), f"{HELD_OUT}{name}"
        text = self._newest(name) + (f" {going}" if going else "")
        return f"{text}, held out {self.seen[held_out][-1]:.4g}" if held_out in self.seen else text

    def _newest(self, name: str) -> str:
        return f"{name} {self.seen[name][-1]:.4g}"
