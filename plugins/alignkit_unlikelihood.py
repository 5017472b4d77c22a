"""Unlikelihood training: raise the winner's tokens, −log p, and lower the loser's, −α·log(1 − p).

Source: Welleck et al., 2020, arXiv:1908.04319, eq. 5, with the loser's tokens as negative candidates. Of K
ranked completions the best is the winner, all others are losers. Nothing holds the policy near a reference:
trained for long it degenerates, which is why it is here, as the baseline that preference objectives are
measured against.

Deviation: as p → 1 the term and its slope grow without bound; where −log p < 10⁻⁴ it goes on as its tangent,
so that loss and gradient stay finite and still point downwards.
"""

from math import exp, expm1
from typing import TYPE_CHECKING

from alignkit import Batch, Field, Loss, Objective, Preferences, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

SURPRISE_FLOOR = 1e-4
SLOPE_AT_FLOOR = exp(-SURPRISE_FLOOR) / -expm1(-SURPRISE_FLOOR)


class Unlikelihood(Objective):
    """Likelihood of the best completion, unlikelihood of the others (Welleck et al., 2020, arXiv:1908.04319,
    eq. 5).
    """

    name = "unlikelihood"
    data = Preferences
    alpha: float = Field(1.0, ge=0, description="weight of the losers' unlikelihood")

    def loss(self, batch: Batch) -> Loss:
        """One term for every completion token of winners and losers."""
        import torch

        winner = batch.best()[:, None]  # (N, 1)
        lost = self.alpha * unlikelihood(batch.logps)
        terms = torch.where(winner, -batch.logps, lost)
        weight = batch.mask.to(terms.dtype)
        if (group_weight := batch.get("weight")) is not None:
            weight = weight * group_weight[:, None]
        logps = (batch.logps * batch.mask).sum(-1)  # (N,)
        metrics = {"logps/chosen": logps[winner.squeeze(-1)], "logps/rejected": logps[~winner.squeeze(-1)]}
        return Loss(terms, weight, metrics)


def unlikelihood(logps: "Tensor") -> "Tensor":
    """−log(1 − exp(logps)) of any shape, continued by its tangent where logps > −10⁻⁴."""
    surprise = -logps
    safe = surprise.clamp(min=SURPRISE_FLOOR)
    value = -(-(-safe).expm1()).log()
    return value + (safe - surprise) * SLOPE_AT_FLOOR


@hookimpl
def register_objectives(register):
    """Register `unlikelihood`."""
    register(Unlikelihood)
