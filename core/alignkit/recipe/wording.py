"""Writes the type, default and bounds of a field in words, for readers who do not know Python."""

from __future__ import annotations

from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from alignkit.recipe.annotations import constraints, element_in, members, model_in
from alignkit.recipe.named import Named

TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text", NoneType: "none"}
BOUNDS = {
    "ge": "at least {}",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "min_length": "length at least {}",
    "max_length": "length at most {}",
}
"""The bounds that pydantic knows, by their names there."""


def type_in_words(annotation: Any) -> str:
    """Name a type. None is left out: a default of none tells of it."""
    return " or ".join(_one_type(kind) for kind in members(annotation))


def default_in_words(info: FieldInfo) -> str:
    """Write a field's default; nothing where it is required, or where its own keys have the defaults."""
    if info.is_required() or isinstance(info.default, BaseModel):
        return ""
    if info.default_factory is not None:
        return "computed"
    if info.default is None or isinstance(info.default, bool):
        return {None: "none", True: "true", False: "false"}[info.default]
    if isinstance(info.default, float):
        return f"{info.default:g}"
    if isinstance(info.default, tuple) and info.default and isinstance(info.default[0], Named):
        return ", ".join(getattr(term, term.named) for term in info.default)
    return str(info.default) if info.default not in ("", (), [], {}) else "empty"


def bounds_in_words(info: FieldInfo) -> str:
    """Write the bounds of a number, or of a length; also of a number in a union of types."""
    return ", ".join(
        text.format(getattr(limit, name))
        for limit in (*info.metadata, *constraints(info.annotation))
        for name, text in BOUNDS.items()
        if getattr(limit, name, None) is not None
    )


def _one_type(kind: Any) -> str:
    if kind in TYPES:
        return TYPES[kind]
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    element = element_in(kind)
    named = model_in(element)
    if named is not None and issubclass(named, Named):
        one = f"{named.named}, {{{named.named}: options}}"
        return f"{one}, or {named.several}" if named.several else one.replace(", {", " or {")
    if get_origin(kind) is dict or model_in(kind) is not None:
        return "mapping"
    if element is not None:
        return f"list of {type_in_words(element)}"
    return getattr(kind, "__name__", None) or str(kind).replace("typing.", "")
