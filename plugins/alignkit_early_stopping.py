"""Ends a stage where a metric has stopped improving (Prechelt, 1998, "Early stopping – but when?").

A measurement improves where it is better than the best one so far by more than `least`. After `patience`
measurements in a row without an improvement the stage ends. The weights are then those of its last step, not
of the best one. Metrics on held-out data are measured every `evaluate_every` steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from alignkit import Field, ObservedStage, Observer, Stop, UserError, hookimpl

alignkit_api = "1.0"
HELD_OUT = "held_out/"


class EarlyStopping(Observer):
    """End the stage where a metric has not improved for some measurements."""

    name: ClassVar[str] = "early-stopping"
    stops: ClassVar[bool] = True
    metric: str = Field("held_out/loss", description="name of the metric in metrics.jsonl")
    better: Literal["lower", "higher"] = Field("lower", description="which values of the metric are better")
    patience: int = Field(3, ge=1, description="measurements without an improvement that end the stage")
    least: float = Field(0.0, ge=0, description="a change must be larger than this to be an improvement")

    def on_stage(self, stage: ObservedStage) -> None:
        """Refuse to wait for a measurement on held-out data that does not come before the end."""
        if self.metric.startswith(HELD_OUT) and stage.held_out_every is None:
            raise UserError(
                f"it watches {self.metric!r}, and nothing is held out and measured before the end",
                where=f"stages.{stage.name}.observers.early-stopping",
                hint="Set `held_out` and `evaluate_every`.",
            )

    def on_step(self, step: int, steps: int, metrics: Mapping[str, float]) -> Stop | None:
        """Count the measurements since the best one. Raises UserError for a metric that never comes."""
        if self.metric not in metrics:
            due = any(name.startswith(HELD_OUT) for name in metrics)
            if "best" not in self.state and (due or not self.metric.startswith(HELD_OUT)):
                raise UserError(f"no metric is called {self.metric!r}; found: {', '.join(sorted(metrics))}")
            return None
        value = metrics[self.metric] if self.better == "lower" else -metrics[self.metric]
        if "best" not in self.state or value < self.state["best"] - self.least:
            self.state.update(best=value, since=0)
            return None
        self.state["since"] += 1
        if self.state["since"] < self.patience:
            return None
        return Stop(f"{self.metric} has not improved in {self.patience} measurements")


@hookimpl
def register_observers(register):
    """Register the observer `early-stopping`."""
    register(EarlyStopping)
