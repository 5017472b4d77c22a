"""Refuses declarations of an objective that could not work, which only the objective as made shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from alignkit.errors import UserError
from alignkit.objective import Objective, OnlineObjective, roles_of
from alignkit.rollouts import Rollouts
from alignkit.signals import BUILT_IN, ENTROPY, KINDS, OLD_LOGPS, STEP_END, Role, signal_name

SCOPES = ("micro-batch", "step")
OF_ROLLOUTS = frozenset({OLD_LOGPS, "sampler_logps", "rewards", "source", "finished", STEP_END})
"""Signals of rollouts that no role computes."""


def require_declarations(objective: Objective, where: str) -> None:
    """Refuse what the engine could not do, or would not do as it was meant.

    Raises UserError, with the key path `where`, for an unknown scope, for rounds that draw nothing, for roles
    that cannot be, and for functions of the vocabulary whose names are taken.
    """
    if not objective.trains:
        raise UserError(
            "the objective trains no role",
            where=where,
            hint="Declare `trains`: one or more roles, such as policy, reward or value.",
        )
    if objective.scope not in SCOPES:
        raise UserError(
            f"the objective declares scope = {objective.scope!r}; expected one of {', '.join(SCOPES)}",
            where=where,
        )
    if isinstance(objective, OnlineObjective) and objective.max_rounds < 1:
        raise UserError(
            f"the objective declares max_rounds = {objective.max_rounds}; at least one round is drawn",
            where=where,
        )
    _require_roles(objective, where)
    _require_free_functions(objective, where)


def _require_roles(objective: Objective, where: str) -> None:
    """Refuse declared roles that redefine others, whose signals mean something else, or that share amiss."""
    known = roles_of(objective)
    for name in objective.roles:
        if not name.isidentifier():
            raise UserError(
                f"the role {name!r} has no name that a signal could begin with",
                where=where,
                hint="Use letters, digits and underscores.",
            )
        if name in BUILT_IN and known[name].kind != BUILT_IN[name].kind:
            raise UserError(
                f"the objective declares {name!r} as a {known[name].kind}; it is a {BUILT_IN[name].kind}",
                where=where,
                hint="Give the role another name.",
            )
        signal = signal_name(name, known[name].kind)
        if signal in OF_ROLLOUTS:
            raise UserError(
                f"the signal of the role {name!r} would be {signal!r}, which rollouts have already",
                where=where,
                hint="Give the role another name.",
            )
        _require_owner(objective, name, known, where)


def _require_owner(objective: Objective, name: str, known: Mapping[str, Role], where: str) -> None:
    """Refuse a role that shares the adapter of one that shares too, or that is not trained with it."""
    owner = known[name].shares
    if owner is None:
        return
    if owner in known and known[owner].shares is not None:
        raise UserError(
            f"the role {name!r} shares the adapter of {owner!r}, which shares one itself",
            where=where,
            hint="Share that of the role that has an adapter of its own.",
        )
    if name in objective.trains and owner not in objective.trains:
        raise UserError(
            f"the objective trains the role {name!r}, which shares the adapter of {owner!r}, and does not "
            f"train {owner!r}",
            where=where,
            hint=f"Name {owner!r} in `trains` too, or give {name!r} an adapter of its own.",
        )
    if name in objective.reads and name not in objective.trains and KINDS[known[name].kind].headed:
        raise UserError(
            f"the objective only reads {name!r}, whose head would stay at zero",
            where=where,
            hint=f"Train it, or give it an adapter of its own, and bind it: roles: {{{name}: STAGE}}.",
        )


def _require_free_functions(objective: Objective, where: str) -> None:
    """Refuse functions of the vocabulary that are called as something else in the batch."""
    taken = {ENTROPY, *OF_ROLLOUTS, *dir(Rollouts), *(field.name for field in fields(Rollouts))}
    taken |= {signal_name(name, role.kind) for name, role in roles_of(objective).items()}
    for name in objective.over_vocabulary:
        if name in taken:
            raise UserError(
                f"`over_vocabulary` has a function {name!r}, and batches have something else of that name",
                where=where,
                hint="Give the function another name.",
            )
