"""Tells a failed validation as the user's first mistake: full key path, what was found, what was expected, the nearest known key."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from alignkit.errors import UserError, nearest
from alignkit.recipe.settings import Data


def validate(cls: type[Any], raw: Any, where: str) -> Any:
    """`raw` as a `cls`; raises UserError at the key path `where`."""
    try:
        return cls.model_validate(raw)
    except ValidationError as error:
        raise explain(error, cls, where) from error


def explain(error: ValidationError, cls: type[BaseModel], where: str) -> UserError:
    """The first mistake of a validation as a UserError: full key path, what was found, what was expected."""
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"] if not (isinstance(part, str) and re.search(r"[\[(]|^(str|float|bool|Data)$", part))]
    path = ".".join([*([where] if where else []), *location])
    if first["type"] == "extra_forbidden":
        return UserError("unknown key", where=path, hint=nearest(location[-1], _fields_at(cls, location[:-1])))
    if first["type"] == "missing":
        return UserError("this key is required and missing", where=path)
    message = first["msg"].removeprefix("Value error, ")
    return UserError(f"{message[:1].lower()}{message[1:]}, found {first['input']!r}" if location else message, where=path)


def _fields_at(cls: Any, location: list[str]) -> list[str]:
    """The keys that the schema knows at a place below `cls`."""
    for part in location:
        info = cls.model_fields.get(part) if isinstance(cls, type) and issubclass(cls, BaseModel) else None
        annotation = info.annotation if info else None
        nested = [a for a in [annotation, *getattr(annotation, "__args__", ())] if isinstance(a, type) and issubclass(a, BaseModel)]
        if info is not None and not nested:
            cls = Data if part == "data" else cls
        elif nested:
            cls = nested[0]
    return list(cls.model_fields)
