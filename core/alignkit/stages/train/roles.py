"""Gives a training stage its roles, and saves the adapters of those that were trained."""

from __future__ import annotations

from pathlib import Path

from alignkit.models.roles import Following, Roles
from alignkit.run.folder import StageFolder
from alignkit.signals import POLICY
from alignkit.stages.context import RunContext
from alignkit.stages.train.bindings import PlannedRole
from alignkit.stages.train.plan import PlannedTrain


def make_roles(stage: PlannedTrain, context: RunContext) -> Roles:
    """Add the roles that the stage's objectives name, each with its start; see `plan_roles`.

    LoRA's dropout is off where a method learns from its own samples, because the ratio of a token's
    probability to that at sampling would be noise.
    """
    dropout = context.base.settings.lora.dropout
    if stage.online and dropout:
        context.display.note(
            "dropout is off in this stage, which compares probabilities with those at sampling"
        )
    roles = context.base.roles(context.seed, dropout=not stage.online)
    for role in stage.roles:
        roles.add(
            role.name,
            kind=role.kind,
            trainable=role.trainable,
            start=_start(role, context),
            shares=role.shares,
            prompt=role.prompt,
            following=Following(role.follow, role.rate, role.every) if role.follow else None,
        )
    return roles


def save_trained(roles: Roles, folder: StageFolder) -> None:
    """Write each trained role: `adapter` for the policy or the only role, `adapter-ROLE` for the others.

    A role that shares an adapter is written where it has a head; its adapter is written with it. A role that
    followed another is written as it ended.
    """
    trained = sorted(name for name, role in roles.roles.items() if role.trainable)
    own = [name for name in trained if roles.roles[name].owned]
    main = POLICY if POLICY in own else own[0]
    for name in trained:
        if roles.roles[name].owned or roles.roles[name].head is not None:
            roles.save(name, folder.adapter if name == main else folder.adapter_beside(name))
    for name, role in roles.roles.items():
        if role.following is not None:
            roles.save(name, folder.adapter_beside(name))


def _start(role: PlannedRole, context: RunContext) -> Path | None:
    """Return the adapter from which a role starts; None means the base."""
    if role.start is None:
        return None
    folder = context.run.stage(role.start)
    return folder.adapter if role.of is None else folder.adapter_beside(role.of)
