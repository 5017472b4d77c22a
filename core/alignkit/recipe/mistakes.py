"""Turns a failed validation into the user's first mistake: its key path, what was found and expected."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from alignkit.errors import UserError, nearest
from alignkit.recipe.annotations import element_in, members, model_in
from alignkit.recipe.named import Named, names_in

Validated = TypeVar("Validated", bound=BaseModel)


def validate(cls: type[Validated], raw: Any, where: str) -> Validated:
    """Return `raw` as a `cls`. Raises UserError for a mistake; `where` is the key path of `raw`."""
    try:
        return cls.model_validate(raw)
    except ValidationError as error:
        raise mistake_of(error, cls, where, raw) from error


def mistake_of(error: ValidationError, cls: type[BaseModel], where: str, raw: Any = None) -> UserError:
    """Return the first mistake in `raw`, which is no valid `cls`.

    Unknown keys come before other mistakes, which often follow from them. `where` is the key path of `raw`.
    """
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    keys, around = _locate(first["loc"], cls, raw)
    path = ".".join([*([where] if where else []), *keys])
    if first["type"] == "extra_forbidden":
        return UserError("unknown key", where=path, hint=nearest(keys[-1], _keys_of(around)))
    if first["type"] == "missing":
        return UserError("this key is required and missing", where=path)
    message = first["msg"].removeprefix("Value error, ")
    if not keys or isinstance(first["input"], dict):  # a whole mapping would make a long message
        return UserError(message, where=path)
    return UserError(f"{message[:1].lower()}{message[1:]}, found {first['input']!r}", where=path)


def _locate(loc: tuple[int | str, ...], cls: type[BaseModel], raw: Any) -> tuple[list[str], Any]:
    """Return the keys to a mistake as the recipe has them, and the type of what holds the last of them.

    pydantic's `loc` differs from the keys in three ways. In a union, a part tells which member was tried. A
    wrong key of a mapping is followed by the part "[key]". Names with options are numbered.
    """
    keys: list[str] = []
    kind: Any = cls
    around: Any = cls
    for part in loc:
        tried = members(kind)
        if len(tried) > 1:
            kind = next((member for member in tried if getattr(member, "__name__", None) == part), None)
        elif part != "[key]":
            around = tried[0]
            if isinstance(part, int) and raw is not None and _holds_named(around):
                part, raw = names_in(raw, around)[part]
            else:
                raw = raw.get(part) if isinstance(raw, dict) else None
            keys.append(str(part))
            kind = _below(around, part)
    return keys, around


def _below(kind: Any, part: int | str) -> Any:
    """Return the type of what stands at a key of a model, a mapping or a list. None means it is not known."""
    model = model_in(kind)
    if model is None:
        return element_in(kind)
    info = model.model_fields.get(str(part))
    return info.annotation if info is not None else None


def _keys_of(kind: Any) -> list[str]:
    """Return the keys that a recipe may write in a section."""
    model = model_in(kind)
    if model is None:
        return []
    fields = model.settings() if issubclass(model, Named) else model.model_fields
    return [info.alias or name for name, info in fields.items()]


def _holds_named(kind: Any) -> bool:
    """Tell whether the type is a list of names with options."""
    model = model_in(element_in(kind))
    return model is not None and issubclass(model, Named)
