"""Reads a recipe's YAML as plain values, and applies overrides from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignkit.errors import UserError

SECTIONS = ("model", "data", "training", "stages")
"""The keys of a recipe that are mappings and have no short form."""

NAMED = ("train", "optimizer", "observers")
"""The keys whose short form is the name of something that a plugin registers."""


def read_yaml(path: Path) -> Any:
    """Read a file as YAML 1.2: `on` is a word, and 1e-5 is a number.

    Raises UserError for a file that does not exist, is not UTF-8, or is not valid YAML. Duplicate keys and
    tags are not valid.
    """
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
    """Set `key.path=value` in the mapping `raw`. The value is read as YAML.

    Raises UserError where the override has another form, and where a key on the way is no mapping.
    """
    path, value = _split(override)
    *parents, last = path.split(".")
    place = raw
    for depth, key in enumerate(parents):
        _require_mapping(place, path, parents[:depth])
        if place.get(key) is None:
            place[key] = {}
        elif isinstance(place[key], str) and key not in SECTIONS:
            place[key] = _written_out(key, place[key], of_data=parents[0] == "data")
        place = place[key]
    _require_mapping(place, path, parents)
    place[last] = value


def _split(override: str) -> tuple[str, Any]:
    """Return the key path and the value."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(
            f"cannot read the override {override!r}", hint="Overrides look like training.learning_rate=1e-5."
        )
    try:
        return path, YAML(typ="safe", pure=True).load(text) if text else None
    except YAMLError as error:
        raise UserError(f"the value {text!r} is not valid YAML", where=path) from error


def _written_out(key: str, short: str, *, of_data: bool) -> dict[str, Any]:
    """Return the long form of a value.

    `train: name` means `train: {name: {}}`, and `x: file` means `x: {path: file}`. of_data: the key is the
    name of data, which may be called `train` too.
    """
    return {short: {}} if key in NAMED and not of_data else {"path": short}


def _require_mapping(place: Any, path: str, keys: list[str]) -> None:
    if not isinstance(place, dict):
        found = ".".join(keys) or "the recipe"
        raise UserError(f"cannot set {path}: {found} is not a mapping", where=path)
