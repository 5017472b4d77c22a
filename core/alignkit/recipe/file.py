"""Reads a recipe's YAML as plain values, and applies overrides from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignkit.errors import UserError


def read_yaml(path: Path) -> Any:
    """YAML 1.2 (`on` is a word, 1e-5 a float), duplicate keys and tags refused."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.is_file():
        raise UserError(f"the recipe {str(path)!r} does not exist", hint="Give the path of a YAML file.")
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = (getattr(error, "problem", None) or str(error)).strip().splitlines()[0]
        raise UserError(problem, where=where, hint="The recipe is not valid YAML.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text: {error}", where=str(path)) from error


def apply_override(raw: Any, override: str) -> None:
    """Set `key.path=value` in the raw mapping; the value is read as YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    keys, equals, text = override.partition("=")
    if not equals or not keys:
        raise UserError(
            f"cannot read the override {override!r}", hint="Overrides look like training.learning_rate=1e-5."
        )
    try:
        value = YAML(typ="safe", pure=True).load(text) if text else None
    except YAMLError as error:
        raise UserError(f"the value {text!r} is not valid YAML", where=keys) from error
    *parents, last = keys.split(".")
    place = raw
    for depth, key in enumerate(parents):
        if not isinstance(place, dict):
            raise UserError(f"cannot set {keys}: {'.'.join(parents[:depth])} is not a mapping", where=keys)
        if place.get(key) is None:
            place[key] = {}
        elif isinstance(place[key], str) and key not in ("stages", "data", "training", "model"):
            # `train: name` and `train: {name: {}}` are the same thing, and so are `x: file` and `x: {path:
            # file}`.
            place[key] = {place[key]: {}} if key == "train" else {"path": place[key]}
        place = place[key]
    if not isinstance(place, dict):
        raise UserError(f"cannot set {last!r}: {'.'.join(parents)} is not a mapping", where=keys)
    place[last] = value
