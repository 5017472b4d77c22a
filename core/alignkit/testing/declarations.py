"""Checks what an objective declares: its roles, its data, its metrics, and its options."""

from __future__ import annotations

import json

from alignkit.measure import Metric
from alignkit.objective import (
    DATA,
    Objective,
    OnlineObjective,
    Prompts,
    roles_of,
    roles_of_function,
    sources_of,
)
from alignkit.registrable import require_objective
from alignkit.signals import POLICY, REFERENCE
from alignkit.testing.failure import fail


def check_declarations(objective: Objective) -> None:
    """Refuse declarations that the engine could not follow.

    Raises AssertionError, or UserError where the registry would refuse the class too.
    """
    cls = type(objective)
    require_objective(cls, cls.__module__)
    _check_roles(objective)
    for name, metric in cls.metrics.items():
        if not isinstance(metric, Metric):
            fail(objective, f"`metrics` declares {name!r} as {metric!r}; expected Metric(label, unit)")
    _check_data(objective)


def _check_roles(objective: Objective) -> None:
    known = roles_of(objective)
    functions = {name: roles_of_function(one) for name, one in objective.over_vocabulary.items()}
    named = {"trains": objective.trains, "reads": objective.reads}
    named |= {f"over_vocabulary[{name!r}]": roles for name, roles in functions.items()}
    for declaration, roles in named.items():
        unknown = set(roles) - set(known)
        if unknown:
            fail(
                objective,
                f"`{declaration}` has the unknown role {min(unknown)!r}; known roles: {', '.join(known)}",
            )
    if not objective.trains or REFERENCE in objective.trains:
        fail(
            objective,
            f"`trains` must name one or more of {', '.join(sorted(set(known) - {REFERENCE}))}; found "
            f"{sorted(objective.trains)}",
        )
    if objective.entropy and POLICY not in {*objective.trains, *objective.reads}:
        fail(objective, '`entropy` is of the policy, but neither `trains` nor `reads` has "policy"')
    for role in known.values():
        if role.shares is not None and role.shares not in {*objective.trains, *objective.reads}:
            fail(
                objective,
                f"a role shares the adapter of {role.shares!r}, which is not in `trains` or `reads`",
            )


def _check_data(objective: Objective) -> None:
    data = type(objective).data
    online = isinstance(objective, OnlineObjective)
    of_data = isinstance(objective, OnlineObjective) and DATA in sources_of(objective)
    if (online and not of_data) != issubclass(data, Prompts):
        fail(
            objective,
            f"data = {data.__name__}: an OnlineObjective learns from Prompts, unless it takes completions "
            "of the data in `samples_from`; no other objective does",
        )
    if online and "policy" not in {*objective.trains, *objective.reads}:
        fail(objective, 'the policy samples, but neither `trains` nor `reads` has "policy"')


def check_options(objective: Objective) -> None:
    """Check that the options survive being written down and read, as recipes and fingerprints write them.

    Raises AssertionError where they do not.
    """
    options = objective.model_dump()
    try:
        again = type(objective)(**options).model_dump()
        from_json = type(objective)(**json.loads(json.dumps(objective.model_dump(mode="json")))).model_dump()
    except Exception as error:
        fail(objective, f"its options cannot be written down and read again: {error}", error)
    for found in (again, from_json):
        if found != options:
            changed = next(name for name in options if found.get(name) != options[name])
            fail(
                objective,
                f"the option {changed!r} is {options[changed]!r}, but {found.get(changed)!r} after it was "
                "written down and read again",
            )
