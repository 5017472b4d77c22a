"""Ends a stage whose policy has moved too far from the reference.

Learned rewards are over-optimized where the KL divergence from the reference grows (Gao et al., 2022,
arXiv:2210.10760): the reward still rises, and what it stands for falls. `ppo` and `reinforce` report the
divergence as `objective/kl`, in nats per completion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from alignkit import Field, Observer, Stop, UserError, hookimpl

alignkit_api = "1.0"


class KlAlarm(Observer):
    """End the stage where the divergence from the reference, or another metric, passes a limit."""

    name: ClassVar[str] = "kl-alarm"
    stops: ClassVar[bool] = True
    metric: str = Field("objective/kl", description="name of the metric in metrics.jsonl")
    limit: float = Field(gt=0, description="the stage ends after a step where the metric is above this")

    def on_step(self, step: int, steps: int, metrics: Mapping[str, float]) -> Stop | None:
        """Compare the metric with the limit. Raises UserError where the first step does not report it."""
        if self.metric not in metrics:
            if step == 1:
                raise UserError(f"no metric is called {self.metric!r}; found: {', '.join(sorted(metrics))}")
            return None
        value = metrics[self.metric]
        return None if value <= self.limit else Stop(f"{self.metric} is {value:.3g}, above {self.limit:g}")


@hookimpl
def register_observers(register):
    """Register the observer `kl-alarm`."""
    register(KlAlarm)
