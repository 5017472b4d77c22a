"""Unrolls `{repeat: n, stages: …}`, a block of stages that is done n times.

In round k the block's stage `policy` becomes `policy-k`. Where a stage of the block names another one, it
means the one of its own round if this is written before it, else the one of the round before. The first round
has no round before: `first` tells what the name means there. After the block, the name means the stage of the
last round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from alignkit.errors import UserError, nearest
from alignkit.recipe.mistakes import validate
from alignkit.recipe.settings import Section
from alignkit.recipe.verbs import BASE

REFERRING = ("on", "start", "reward", "watch", "sample", "label", "by", "held_out", "evaluate", "against")
"""The keys of a stage that name stages or data."""

Rename = Callable[[str], str]


class Block(Section):
    """Does stages several times, each round on what the round before made."""

    repeat: int = Field(ge=1, strict=True, description="number of rounds")
    stages: dict[str, Any] = Field(
        min_length=1, description="stages of a round, by name; in round 2, the stage NAME is called NAME-2"
    )
    first: dict[str, str] | None = Field(
        default=None,
        description="what names of the block's stages mean in the first round, as {NAME: stage or base}",
    )


def unroll(stages: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's stages, as plain values, without blocks.

    Raises UserError, at the key path, for a mistake in a block and for two stages of one name.
    """
    flat: dict[str, Any] = {}
    latest: dict[str, str] = {}  # names of blocks' stages, and the names of their last rounds
    for name, stage in stages.items():
        where = f"stages.{name}"
        if isinstance(stage, dict) and "repeat" in stage:
            latest |= _unroll_block(_read_block(stage, where), latest, flat, where)
        else:
            _add(flat, name, _renamed(stage, latest), where)
    return flat


def _unroll_block(
    block: Block, latest: Mapping[str, str], flat: dict[str, Any], where: str
) -> Mapping[str, str]:
    """Add every round's stages to `flat`, and return the names of the last round by the block's names."""
    first = block.first or {}
    before = {**latest, **{name: latest.get(meant, meant) for name, meant in first.items()}}
    made: dict[str, str] = {}
    for number in range(1, block.repeat + 1):
        before, made = {**before, **made}, {}
        for name, stage in block.stages.items():
            meaning = {**before, **made}
            _require_made(_names(stage) & block.stages.keys() - meaning.keys(), f"{where}.stages.{name}")
            made[name] = f"{name}-{number}"
            _add(flat, made[name], _renamed(stage, meaning), where)
    return made


def _read_block(raw: dict[str, Any], where: str) -> Block:
    block = validate(Block, raw, where)
    for name, stage in block.stages.items():
        if name == BASE:
            raise UserError(
                "'base' means the base model, so no stage can have this name",
                where=f"{where}.stages.{name}",
                hint="Rename the stage.",
            )
        if isinstance(stage, dict) and "repeat" in stage:
            raise UserError(
                "found a block within a block; a block holds only stages",
                where=f"{where}.stages.{name}",
                hint="Put the blocks one after the other.",
            )
    for name in block.first or {}:
        if name not in block.stages:
            raise UserError(
                f"the block has no stage {name!r}", where=f"{where}.first", hint=nearest(name, block.stages)
            )
    return block


def _require_made(missing: set[str], where: str) -> None:
    if missing:
        raise UserError(
            f"the first round needs {', '.join(sorted(missing))} before it is made",
            where=where,
            hint=f"Say what the name means in the first round: first: {{{min(missing)}: base}}.",
        )


def _add(flat: dict[str, Any], name: str, stage: Any, where: str) -> None:
    if name in flat:
        raise UserError(
            f"two stages would be called {name!r}",
            where=where,
            hint="A block's stages get the number of their round: rename one.",
        )
    flat[name] = stage


def _names(stage: Any) -> set[str]:
    """Return the names of stages, data and rewards to which a stage refers."""
    found: list[str] = []

    def note(name: str) -> str:
        found.append(name)
        return name

    _with_names(stage, note)
    return set(found)


def _renamed(stage: Any, meaning: Mapping[str, str]) -> Any:
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
