"""Calls the `prepare` of an online objective, and checks what it returns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from alignkit.errors import UserError
from alignkit.objective import OnlineObjective, roles_of
from alignkit.rollouts import Rollouts
from alignkit.signals import OLD_LOGPS, POLICY, signal_name, signals_of
from alignkit.training.calling import WRITES, call


@torch.no_grad()
def prepare(objective: OnlineObjective, rollouts: Rollouts) -> Rollouts:
    """Return what the objective's `prepare` makes of the rollouts, checked, as `loss` will find it."""
    prepared = call(objective, "prepare", rollouts)
    check_prepared(objective, prepared)
    return replace(prepared, signals=lasting(objective, prepared))


def accepted(objective: OnlineObjective, rollouts: Rollouts, prompts: int) -> list[bool]:
    """Return, for each prompt, whether the objective's `accept` takes its samples.

    Raises UserError where the answer is anything but one truth value for each prompt.
    """
    with objective.state.locked("accept", WRITES):
        answer = call(objective, "accept", rollouts)
    if not isinstance(answer, Tensor) or answer.dtype != torch.bool or answer.shape != (prompts,):
        found = (
            f"{answer.dtype} {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
        )
        raise UserError(
            f"`accept` returned {found}; expected a tensor of bool, ({prompts},)",
            where=f"objective {objective.name!r}",
            hint="Return one truth value for each prompt, in the order of `rollouts.group`.",
        )
    return answer.tolist()


def check_prepared(objective: OnlineObjective, prepared: Any) -> None:
    """Refuse what `prepare` returned unless it is rollouts with finite tensors, (N,) or (N, T)."""
    name = objective.name
    if not isinstance(prepared, Rollouts):
        raise UserError(
            f"`prepare` of {name} must return rollouts, found {type(prepared).__name__}",
            hint="Return rollouts.with_(…) or .select(…).",
        )
    if not prepared.mask.any(-1).all():
        raise UserError(
            f"`prepare` of {name} left a completion without any token to learn from",
            hint="Leave the completion out with rollouts.select(…).",
        )
    for key, value in prepared.signals.items():
        if not isinstance(value, Tensor):
            raise UserError(f"`prepare` of {name} gave {key} as {type(value).__name__}, expected a tensor")
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

    Left out are the signals that trained roles compute anew, and the functions of the vocabulary; `logps` at
    sampling is called `old_logps`. A policy that is only read keeps its `logps` too.
    """
    roles, logps = roles_of(objective), signal_name(POLICY, "language-model")
    trained = {name for role in objective.trains for name in signals_of(role, roles[role].kind, entropy=True)}
    trained |= set(objective.over_vocabulary)
    kept = {name: value for name, value in prepared.signals.items() if name not in trained}
    old = {OLD_LOGPS: prepared.signals[logps]} if logps in prepared.signals else {}
    return kept | old
