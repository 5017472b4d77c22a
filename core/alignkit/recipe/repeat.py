"""Unrolls `{repeat: n, stages: …}`: a block of stages done n times, each round beginning from what the one
before left.

In round k the block's stage `policy` becomes `policy-k`. A name of the block that is not made yet when a
stage needs it means the round before; in the first round what `first` gives for it. After the block, a
stage's bare name means its last round.
"""

from __future__ import annotations

from typing import Any

from alignkit.errors import UserError
from alignkit.recipe.verbs import BASE

REFERRING = ("on", "start", "reward", "watch", "sample", "label", "by", "held_out", "evaluate", "against")


def unroll(stages: Any) -> Any:
    """The stages of a recipe, as plain values, without blocks. Raises UserError with the key path."""
    if not isinstance(stages, dict):
        return stages
    flat: dict[str, Any] = {}
    last: dict[str, str] = {}
    for name, stage in stages.items():
        where = f"stages.{name}"
        if not isinstance(stage, dict) or "repeat" not in stage:
            _require_new(name, flat, where)
            flat[name] = _renamed(stage, last)
            continue
        rounds, block, first = _read_block(stage, where)
        names = {**last, **{inner: last.get(meant, meant) for inner, meant in first.items()}}
        for number in range(1, rounds + 1):
            made: dict[str, str] = {}
            for inner, body in block.items():
                meaning = {**names, **made}
                missing = _names(body, block) - meaning.keys()
                if missing:
                    raise UserError(
                        f"the first round needs {', '.join(sorted(missing))} before it is made",
                        where=f"{where}.stages.{inner}",
                        hint=f"Give what stands for it: first: {{{sorted(missing)[0]}: base}}.",
                    )
                made[inner] = f"{inner}-{number}"
                _require_new(made[inner], flat, where)
                flat[made[inner]] = _renamed(body, meaning)
            names = {**last, **made}
        last = names
    return flat


def _read_block(stage: dict[str, Any], where: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    unknown = [key for key in stage if key not in ("repeat", "stages", "first")]
    if unknown:
        raise UserError(
            "unknown key", where=f"{where}.{unknown[0]}", hint="A block has the keys repeat, stages, first."
        )
    rounds, block, first = stage["repeat"], stage.get("stages"), stage.get("first") or {}
    if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
        raise UserError(
            f"the number of rounds is a whole number from 1, found {rounds!r}", where=f"{where}.repeat"
        )
    if not isinstance(block, dict) or not block:
        raise UserError("a block needs stages of its own", where=f"{where}.stages")
    for name, body in block.items():
        if name == BASE:
            raise UserError(
                "'base' is the base model, and no name of a stage",
                where=f"{where}.stages.{name}",
                hint="Rename the stage.",
            )
        if isinstance(body, dict) and "repeat" in body:
            raise UserError(
                "a block holds stages, not another block",
                where=f"{where}.stages.{name}",
                hint="Put the blocks one after the other.",
            )
    if not isinstance(first, dict):
        raise UserError(f"expected a mapping of the block's stages, found {first!r}", where=f"{where}.first")
    for name in first:
        if name not in block:
            raise UserError(f"{name!r} is no stage of the block: {', '.join(block)}", where=f"{where}.first")
    return rounds, block, {str(name): str(meant) for name, meant in first.items()}


def _require_new(name: str, flat: dict[str, Any], where: str) -> None:
    if name in flat:
        raise UserError(
            f"two stages would be called {name!r}",
            where=where,
            hint="A block's stages get the number of their round: rename one.",
        )


def _names(body: Any, block: dict[str, Any]) -> set[str]:
    """The block's stages that a stage refers to."""
    found: set[str] = set()
    _walk(body, lambda name: found.add(name) or name if name in block else name)
    return found


def _renamed(body: Any, meaning: dict[str, str]) -> Any:
    return _walk(body, lambda name: meaning.get(name, name))


def _walk(body: Any, change: Any) -> Any:
    """The stage with `change` applied to every name of a stage or data that it refers to."""
    if not isinstance(body, dict):
        return body
    walked = {key: _changed(value, change) if key in REFERRING else value for key, value in body.items()}
    if isinstance(body.get("train"), dict):  # {objective: {on: data}}
        walked["train"] = {name: _inside(options, "on", change) for name, options in body["train"].items()}
    return walked


def _changed(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, dict):  # {stage or reward: options}; a data entry names no stage
        return (
            value
            if "path" in value
            else {change(key): _inside(options, "by", change) for key, options in value.items()}
        )
    return value


def _inside(options: Any, key: str, change: Any) -> Any:
    """Options with the one of them that refers to something changed; the others are a plugin's own."""
    return (
        {**options, key: _changed(options[key], change)}
        if isinstance(options, dict) and key in options
        else options
    )
