"""Unlikelihood training: raises the winner's tokens by −log p and lowers the loser's by −α·log(1 − p).

Source: Welleck et al., 2020, arXiv:1908.04319, eq. 5, with the loser's tokens as negative candidates. Of K
ranked completions the best is the winner and all others are losers. Nothing holds the policy near a
reference, so it degenerates when it is trained for long. It is here as the baseline with which preference
objectives are compared.

Deviation: as p → 1, −log(1 − p) and its slope grow without bound. Where −log p < 10⁻⁴ the term continues as
its tangent, so that loss and gradient stay finite and still lower the loser's tokens.
"""

from math import exp, expm1
from typing import TYPE_CHECKING

from alignkit import Average, Batch, Field, Loss, Metric, Objective, Preferences, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

SURPRISE_FLOOR = 1e-4
SLOPE_AT_FLOOR = exp(-SURPRISE_FLOOR) / -expm1(-SURPRISE_FLOOR)


class Unlikelihood(Objective):
    """Raise the best completion, lower the others (Welleck et al., 2020, arXiv:1908.04319, eq. 5)."""

    name = "unlikelihood"
    data = Preferences
    metrics = {
        "logps/chosen": Metric("log-probability of the chosen completion", "nats", detail=True),
        "logps/rejected": Metric("log-probability of the rejected completions", "nats", detail=True),
    }
    alpha: float = Field(1.0, ge=0, description="α, weight of the losers' unlikelihood")

    def loss(self, batch: Batch) -> Loss:
        """Return one term for every completion token of winners and losers."""
        import torch

        best = batch.best()  # (N,)
        lost = self.alpha * unlikelihood(batch.logps)
        terms = torch.where(best[:, None], -batch.logps, lost)
        weight = batch.mask.to(terms.dtype)
        if (group_weight := batch.get("weight")) is not None:
            weight = weight * group_weight[:, None]
        logps = (batch.logps * batch.mask).sum(-1)  # (N,)
        reported = {"logps/chosen": Average(logps[best]), "logps/rejected": Average(logps[~best])}
        return Loss(terms, weight, reported)


def unlikelihood(logps: "Tensor") -> "Tensor":
    """Return −log(1 − exp(logps)) in any shape, continued by its tangent where logps > −10⁻⁴."""
    surprise = -logps
    safe = surprise.clamp(min=SURPRISE_FLOOR)
    value = -(-(-safe).expm1()).log()
    return value + (safe - surprise) * SLOPE_AT_FLOOR


@hookimpl
def register_objectives(register):
    """Register the objective `unlikelihood`."""
    register(Unlikelihood)
