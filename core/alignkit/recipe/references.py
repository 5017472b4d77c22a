"""Finds and renames what stages refer to, in their plain values, and adds stages to those there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from alignkit.errors import UserError

REFERRING = ("on", "start", "reward", "watch", "sample", "label", "by", "held_out", "evaluate", "against")
"""The keys of a stage whose values name stages, data or rewards. Those of `roles` name stages too."""

Rename = Callable[[str], str]


def add_stage(flat: dict[str, Any], name: str, stage: Any, where: str, hint: str) -> None:
    """Add a stage to those there are.

    Raises UserError, at the key path `where` and with the fix `hint`, where there is one of this name.
    """
    if name in flat:
        raise UserError(f"two stages would be called {name!r}", where=where, hint=hint)
    flat[name] = stage


def references(stage: Any) -> set[str]:
    """Return the names of stages, data and rewards to which a stage refers."""
    found: list[str] = []

    def note(name: str) -> str:
        found.append(name)
        return name

    _with_names(stage, note)
    return set(found)


def renamed(stage: Any, meaning: Mapping[str, str]) -> Any:
    """Return the stage with each name replaced by its meaning, where it has one."""
    return _with_names(stage, lambda name: meaning.get(name, name))


def _with_names(stage: Any, rename: Rename) -> Any:
    """Return the stage with `rename` applied to each name of a stage, data or reward to which it refers."""
    if not isinstance(stage, dict):
        return stage
    changed = {key: _in_value(value, rename) if key in REFERRING else value for key, value in stage.items()}
    if isinstance(stage.get("train"), dict):  # {objective: {on: data}}
        changed["train"] = {
            name: _in_option(options, "on", rename) for name, options in stage["train"].items()
        }
    if isinstance(stage.get("roles"), dict):  # {role: stage} or {role: {start: stage}}
        changed["roles"] = {role: _in_binding(binding, rename) for role, binding in stage["roles"].items()}
    return changed


def _in_value(value: Any, rename: Rename) -> Any:
    """Rename in a name, a list of names, or a mapping of names to options."""
    if isinstance(value, str):
        return rename(value)
    if isinstance(value, list):
        return [_in_value(item, rename) for item in value]
    if (
        isinstance(value, dict) and "path" not in value
    ):  # a mapping with a path is a data entry: it has no names
        return {
            rename(name): _in_roles(_in_option(options, "by", rename), rename)
            for name, options in value.items()
        }
    return value


def _in_binding(binding: Any, rename: Rename) -> Any:
    """Rename the stage that plays a role, whether it stands alone or among options."""
    return rename(binding) if isinstance(binding, str) else _in_option(binding, "start", rename)


def _in_roles(options: Any, rename: Rename) -> Any:
    """Rename the stages that play a reward's roles; the roles' names are the reward's own."""
    if not isinstance(options, dict) or not isinstance(options.get("roles"), dict):
        return options
    return {**options, "roles": {role: _in_value(name, rename) for role, name in options["roles"].items()}}


def _in_option(options: Any, key: str, rename: Rename) -> Any:
    """Rename in the one option that refers to something; the others are a plugin's own."""
    if not isinstance(options, dict) or key not in options:
        return options
    return {**options, key: _in_value(options[key], rename)}
