"""Calls the `prepare` of an online objective, and checks what it returns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from alignkit.batch import Rollouts
from alignkit.errors import UserError
from alignkit.objective import OnlineObjective
from alignkit.run.checkpoint import require_numbers
from alignkit.signals import signals_of


@torch.no_grad()
def prepare(objective: OnlineObjective, rollouts: Rollouts) -> Rollouts:
    """Return what the objective's `prepare` makes of the rollouts, checked, as `loss` will find it."""
    prepared = objective.prepare(rollouts)
    check_prepared(objective, prepared)
    require_numbers(objective.state, f"objective {objective.name!r}")
    return replace(prepared, signals=lasting(objective, prepared))


def check_prepared(objective: OnlineObjective, prepared: Any) -> None:
    """Refuse what `prepare` returned unless it is rollouts with finite tensors, (N,) or (N, T).

    The mask of each completion must mark its first tokens, because only those are kept.
    """
    name = objective.name
    if not isinstance(prepared, Rollouts):
        raise UserError(
            f"`prepare` of {name} must return rollouts, found {type(prepared).__name__}",
            hint="Return rollouts.with_(…) or .select(…).",
        )
    if (prepared.mask[:, 1:] & ~prepared.mask[:, :-1]).any():
        raise UserError(
            f"`prepare` of {name} gave a mask with a gap: a completion's tokens are its first ones",
            hint="Give tokens that shall not count the weight 0 in `loss`; leave the mask as it is.",
        )
    for key, value in prepared.signals.items():
        if value.shape not in (prepared.mask.shape, prepared.mask.shape[:1]):
            expected = f"{tuple(prepared.mask.shape)} or {tuple(prepared.mask.shape[:1])}"
            raise UserError(
                f"`prepare` of {name} gave {key} the shape {tuple(value.shape)}, expected {expected}"
            )
        if not torch.isfinite(value.float()).all():
            raise UserError(
                f"`prepare` of {name} gave {key} numbers that are not finite",
                hint="No weight was updated.",
            )


def lasting(objective: OnlineObjective, prepared: Rollouts) -> dict[str, Tensor]:
    """Return the signals that `loss` finds as they were at sampling.

    Left out are the signals that trained roles compute anew; `logps` at sampling is called `old_logps`.
    """
    trained = {name for role in objective.trains for name in signals_of(role, entropy=True)} - {"logps"}
    return {
        ("old_logps" if name == "logps" else name): value
        for name, value in prepared.signals.items()
        if name not in trained
    }
