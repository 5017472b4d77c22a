"""Refuses what plugins would register and the engine or a recipe could not use."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Set
from typing import Any

from pydantic import BaseModel

from alignkit.errors import UserError, nearest
from alignkit.measure import Metric
from alignkit.objective import DataKind, Objective, OnlineObjective, Prompts, roles_of
from alignkit.recipe.named import Named
from alignkit.recipe.terms import RewardTerm, Term
from alignkit.reward import Reward
from alignkit.signals import KINDS, Role


def require_objective(cls: Any, plugin: str) -> None:
    """Refuse a class that could not be trained, with the declaration it lacks."""
    if not (isinstance(cls, type) and issubclass(cls, Objective)):
        raise UserError(
            f"plugin {plugin!r} registers {cls!r} as an objective; a subclass of "
            "alignkit.Objective is expected"
        )
    label = f"objective {cls.__name__} of plugin {plugin!r}"
    if not isinstance(getattr(cls, "name", None), str):
        raise UserError(f'{label} has no name; add `name = "…"`')
    if not (isinstance(getattr(cls, "data", None), type) and issubclass(cls.data, DataKind)):
        raise UserError(
            f"{label} declares no data; add `data = Preferences` (or Demonstrations, Labelled, Stepwise, "
            "Prompts)"
        )
    require_roles(cls, label)
    if issubclass(cls.data, Prompts) and not issubclass(cls, OnlineObjective):
        raise UserError(
            f"{label} has data = Prompts; an OnlineObjective learns from Prompts, other objectives do not",
            hint="Derive it from OnlineObjective, for which the policy writes completions, or declare other "
            "data.",
        )
    require_free_names(cls, Term, label)
    require_metrics(cls, label)


def require_roles(cls: type[Objective], label: str) -> None:
    """Refuse roles that are not declared, or declared as something unknown. label: the objective's.

    What a property decides is known only when the objective is made.
    """
    if isinstance(cls.roles, property):
        return
    for name, role in cls.roles.items():
        kind = role.kind if isinstance(role, Role) else role
        if kind not in KINDS:
            raise UserError(f"{label} declares the role {name!r} as {kind!r}", hint=nearest(str(kind), KINDS))
    known = roles_of(cls)
    for declaration in ("trains", "reads"):
        declared = getattr(cls, declaration)
        for role in () if isinstance(declared, property) else declared:
            if role not in known:
                raise UserError(
                    f"{label} {declaration} the unknown role {role!r}",
                    hint=f'Declare it: roles = {{"{role}": "language-model"}}. {nearest(role, known)}',
                )


def require_reward(cls: type[Reward], plugin: str) -> None:
    """Refuse a class whose options a recipe could not set, and one that could not take the engine it uses."""
    label = f"reward {cls.__name__} of plugin {plugin!r}"
    require_free_names(cls, RewardTerm, label)
    uses = cls.uses
    if "uses" in cls.model_fields or isinstance(uses, str) or not isinstance(uses, Set):
        raise UserError(f"{label}: `uses` is {uses!r}; a set of roles is expected, such as {{'policy'}}")
    parameters = inspect.signature(cls.score).parameters
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    if uses and "engine" not in parameters and not takes_any:
        raise UserError(
            f"{label} uses {', '.join(sorted(uses))}, and its `score` takes no `engine`",
            hint="Write def score(self, prompts, completions, engine, **columns).",
        )


def require_free_names(cls: type[BaseModel], term: type[Named], label: str) -> None:
    """Refuse a field with the name of a key that a recipe writes beside it, as the recipe would keep it.

    term: what a recipe names the class in. label: the class, for messages.
    """
    for name in sorted(cls.model_fields.keys() & term.settings().keys()):
        raise UserError(
            f"{label} has the option {name!r}, which is a key of the recipe: no recipe could set the option",
            hint=f"Give the field of {cls.__name__} another name, such as {cls.__name__.lower()}_{name}.",
        )


def require_metrics(cls: type[Objective], label: str) -> None:
    """Refuse `metrics` that do not say how each number is called. label: the objective's, for messages."""
    declared = cls.__dict__.get("metrics", {})
    if "metrics" in cls.model_fields or not isinstance(declared, Mapping):
        raise UserError(
            f"{label}: `metrics` must be a mapping of its metrics' names",
            hint='Write metrics: ClassVar[Mapping[str, Metric]] = {"margin": Metric("margin", "nats")}',
        )
    for name, metric in declared.items():
        if not isinstance(metric, Metric) or not metric.label:
            raise UserError(
                f"{label}: the metric {name!r} is {metric!r}; a Metric with a label is expected",
                hint=f'Write {name!r}: Metric("{name}", "its unit")',
            )


def require_named(cls: Any, base: type, plugin: str) -> None:
    """Refuse what is not a subclass of `base` with a name."""
    kind = base.__name__.lower()
    if not (isinstance(cls, type) and issubclass(cls, base)):
        article = "an" if kind[0] in "aeiou" else "a"
        raise UserError(
            f"plugin {plugin!r} registers {cls!r} as {article} {kind}; a subclass of "
            f"alignkit.{base.__name__} is expected"
        )
    if not isinstance(getattr(cls, "name", None), str):
        raise UserError(f'{kind} {cls.__name__} of plugin {plugin!r} has no name; add `name = "…"`')
