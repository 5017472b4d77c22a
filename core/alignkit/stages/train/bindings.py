"""Plans the roles of a training stage: what each is, where it starts, and what it follows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alignkit.errors import UserError, nearest
from alignkit.objective import Objective, OnlineObjective, roles_of, roles_of_function, sources_of
from alignkit.recipe import BASE, Binding, Recipe, Train
from alignkit.registry import Registry
from alignkit.rewards.kinds import Rewards
from alignkit.rewards.lookup import trained_roles
from alignkit.signals import BUILT_IN, KINDS, POLICY, Role
from alignkit.stages.requirements import require_stage


@dataclass(frozen=True)
class PlannedRole:
    """A role of a training stage.

    start: the stage whose adapter it copies, or None for the base. of: the role of that stage whose adapter
    it is; None means the stage's main one. The rest is as `alignkit.models.roles.Roles.add` takes it.
    """

    name: str
    kind: str
    trainable: bool
    start: str | None = None
    of: str | None = None
    shares: str | None = None
    prompt: str | None = None
    follow: str | None = None
    rate: float = 1.0
    every: int = 1

    def __str__(self) -> str:
        """Write the role as a plan shows it, where the recipe binds it."""
        if self.follow is not None:
            how = f"moves towards {self.follow} by {self.rate:g} every {self.every} steps"
        else:
            how = f"is {self.start or BASE}"
        under = f", reading after {self.prompt!r}" if self.prompt else ""
        return f"{self.name} {how}{under}"


def plan_roles(
    objectives: Iterable[Objective],
    settings: Train,
    rewards: Rewards,
    recipe: Recipe,
    registry: Registry,
    where: str,
) -> tuple[PlannedRole, ...]:
    """Return the roles that the objectives name, those first whose adapter others share.

    Raises UserError, below the key path `where` of the stage, for a binding that cannot be.
    """
    objectives = tuple(objectives)
    declared = _declared(objectives, where)
    trains = {name for objective in objectives for name in objective.trains}
    for name in settings.roles:
        if name not in declared:
            raise UserError(
                "no objective of this stage has this role",
                where=f"{where}.roles.{name}",
                hint=nearest(name, declared),
            )
    for name, role in declared.items():
        if role.shares is not None and role.shares not in declared:
            raise UserError(
                f"the role {name!r} shares the adapter of {role.shares!r}, which no objective names",
                where=f"{where}.train",
                hint=f"Name {role.shares!r} in `trains` or `reads` too.",
            )
    model = next((reward.name for reward in rewards if reward.is_model), None)
    planned = [
        _plan(name, role, name in trains, model, settings, recipe, registry, where)
        for name, role in declared.items()
    ]
    _require_same_start(planned, where)
    return tuple(sorted(planned, key=lambda role: (role.shares is not None, not role.trainable, role.name)))


def _declared(objectives: tuple[Objective, ...], where: str) -> dict[str, Role]:
    """Return the roles that are trained, read or sampled from, and those whose distributions are read."""
    found: dict[str, Role] = {}
    for objective in objectives:
        known = roles_of(objective)
        functions = objective.over_vocabulary.values()
        seen = {role for function in functions for role in roles_of_function(function)}
        names = {*objective.trains, *objective.reads, *seen}
        if isinstance(objective, OnlineObjective):
            names |= {name for name in sources_of(objective) if name in known}
        for name in sorted(names):
            if name not in known:
                raise UserError(
                    f"the role {name!r} is not declared",
                    where=f"{where}.train.{objective.name}",
                    hint=f'Declare it: roles = {{"{name}": "language-model"}}. {nearest(name, known)}',
                )
            if found.setdefault(name, known[name]) != known[name]:
                raise UserError(
                    f"two objectives mean different things by the role {name!r}",
                    where=f"{where}.train",
                    hint="Train them in stages of their own.",
                )
    return found


def _plan(
    name: str,
    role: Role,
    trainable: bool,
    model: str | None,
    settings: Train,
    recipe: Recipe,
    registry: Registry,
    where: str,
) -> PlannedRole:
    """Return one role with its start.

    Trained roles and the reference begin as the stage's `start`. Where the stage has a reward model among its
    rewards, the built-in value model begins as a copy of it, because it predicts that model's score, and a
    reward that is only read is that model. Any other role that is only read has to be bound. A head begins at
    zero only where it is trained, or follows one that is.
    """
    binding, where = settings.roles.get(name, Binding()), f"{where}.roles.{name}"
    if role.shares is not None:
        return _plan_sharing(name, role, trainable, binding, settings, where)
    if not trainable and name not in settings.roles and name not in BUILT_IN:
        raise UserError(
            f"the objective reads the role {name!r}, and the stage does not say what it is",
            where=where,
            hint=f"Bind it: roles: {{{name}: STAGE}}, or {{{name}: {{start: STAGE, prompt: COLUMN}}}}.",
        )
    _require_following(name, role, trainable, binding, where)
    from_model = name == "value" or (name == "reward" and not trainable)
    start = binding.start or (model if from_model and model is not None else settings.start)
    start = None if start == BASE else start
    head_is_fresh, of = trainable or binding.follow is not None, None
    if start is not None:
        of = _adapter_in(start, name, role, head_is_fresh, recipe, registry, f"{where}.start")
    elif KINDS[role.kind].headed and not head_is_fresh:
        raise UserError(
            f"the objective reads {name!r}, a {role.kind} model, and the base has none",
            where=where,
            hint=f"Bind it to a stage that trains one: roles: {{{name}: STAGE}}.",
        )
    return PlannedRole(
        name,
        role.kind,
        trainable,
        start,
        of,
        prompt=binding.prompt,
        follow=binding.follow,
        rate=binding.rate,
        every=binding.every,
    )


def _plan_sharing(
    name: str, role: Role, trainable: bool, binding: Binding, settings: Train, where: str
) -> PlannedRole:
    """Return a role that shares another's adapter: what is bound is the other."""
    assert role.shares is not None
    if binding.start is not None or binding.follow is not None or binding.prompt is not None:
        raise UserError(
            f"it shares the adapter of {role.shares!r}", where=where, hint=f"Bind {role.shares!r} instead."
        )
    owner = settings.roles.get(role.shares, Binding())
    return PlannedRole(name, role.kind, trainable, shares=role.shares, prompt=owner.prompt)


def _require_following(name: str, role: Role, trainable: bool, binding: Binding, where: str) -> None:
    """Refuse a role that does not follow as its objective needs, and a trained one that follows."""
    if role.follows is not None and binding.follow != role.follows:
        raise UserError(
            f"the objective needs {name!r} to follow {role.follows!r}, and the stage does not say how",
            where=f"{where}.follow",
            hint=f"Bind it: roles: {{{name}: {{follow: {role.follows}, rate: 0.01}}}}, or with a copy now "
            f"and then: {{follow: {role.follows}, rate: 1, every: 100}}.",
        )
    if binding.follow is not None and trainable:
        raise UserError("it is trained, so it cannot follow another role", where=f"{where}.follow")


def _adapter_in(
    start: str,
    name: str,
    role: Role,
    head_is_fresh: bool,
    recipe: Recipe,
    registry: Registry,
    where: str,
) -> str | None:
    """Return which adapter of the stage `start` the role copies; None means its main one.

    It is the role of the same name, else the main one where its kind fits or the role may begin with a fresh
    head, else the only one of its kind.
    """
    require_stage(recipe, start, Train, where)
    trained = trained_roles(recipe.stages[start], registry)
    main = POLICY if POLICY in trained else min(trained)
    if name in trained and name != main and trained[name].kind == role.kind:
        return name
    if trained[main].kind == role.kind or (KINDS[role.kind].headed and head_is_fresh):
        return None
    same = sorted(other for other, found in trained.items() if found.kind == role.kind)
    if len(same) != 1:
        found = ", ".join(f"{other} ({kind.kind})" for other, kind in sorted(trained.items()))
        raise UserError(
            f"the stage {start!r} trains {found}; a {role.kind} is needed here",
            where=where,
            hint="Name a stage that trains one.",
        )
    return same[0]


def _require_same_start(planned: list[PlannedRole], where: str) -> None:
    """Refuse a role that follows one that is not trained, is of another kind, or starts elsewhere."""
    by_name = {role.name: role for role in planned}
    for role in planned:
        if role.follow is None:
            continue
        followed = by_name.get(role.follow)
        place = f"{where}.roles.{role.name}"
        if followed is None or not followed.trainable or followed.shares is not None:
            trained = [one.name for one in planned if one.trainable and one.shares is None]
            raise UserError(
                f"{role.follow!r} is not trained in this stage",
                where=f"{place}.follow",
                hint=nearest(role.follow, trained),
            )
        if followed.kind != role.kind or (followed.start, followed.of) != (role.start, role.of):
            raise UserError(
                f"it follows {role.follow!r} and must begin as it does: found {role.start or BASE}, expected "
                f"{followed.start or BASE}",
                where=f"{place}.start",
                hint="Leave `start` out.",
            )
