"""Tells a failed validation as the user's first mistake: full key path, what was found, what was expected,
the nearest known key.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from alignkit.errors import UserError, nearest
from alignkit.recipe.settings import DataEntry

NAMED = ("train", "reward", "watch", "by", "evaluate")
"""Keys under which names stand, with their options: `name`, `{name: options, …}`, or a list of either."""


def validate(cls: type[Any], raw: Any, where: str) -> Any:
    """`raw` as a `cls`; raises UserError at the key path `where`."""
    try:
        return cls.model_validate(raw)
    except ValidationError as error:
        raise mistake_of(error, cls, where, raw) from error


def mistake_of(error: ValidationError, cls: type[BaseModel], where: str, raw: Any = None) -> UserError:
    """The first mistake of a validation of `raw` as a UserError: full key path, what was found, what was
    expected.
    """
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    parts = [
        part
        for part in first["loc"]
        if not (isinstance(part, str) and re.search(r"[\[(]|^(str|float|bool|DataEntry)$", part))
    ]
    location = [str(part) for part in parts]
    path = ".".join([*([where] if where else []), *_as_written(parts, raw)])
    if first["type"] == "extra_forbidden":
        return UserError(
            "unknown key", where=path, hint=nearest(location[-1], _fields_at(cls, location[:-1]))
        )
    if first["type"] == "missing":
        return UserError("this key is required and missing", where=path)
    message = first["msg"].removeprefix("Value error, ")
    of_one_key = location and not isinstance(first["input"], dict)
    return UserError(
        f"{message[:1].lower()}{message[1:]}, found {first['input']!r}" if of_one_key else message, where=path
    )


def _as_written(parts: list[int | str], raw: Any) -> list[str]:
    """The parts of a place with the names of objectives, rewards and targets, which the schema counts."""
    written: list[str] = []
    for part in parts:
        if isinstance(part, int) and raw is not None and written and written[-1] in NAMED:
            items = raw if isinstance(raw, list) else [raw]
            named = [
                pair
                for item in items
                for pair in (item.items() if isinstance(item, dict) else [(item, None)])
            ]
            name, raw = named[part]
        else:
            name, raw = part, raw.get(part) if isinstance(raw, dict) else None
        written.append(str(name))
    return written


def _fields_at(cls: Any, location: list[str]) -> list[str]:
    """The keys that the schema knows at a place below `cls`."""
    for part in location:
        info = cls.model_fields.get(part) if isinstance(cls, type) and issubclass(cls, BaseModel) else None
        annotation = info.annotation if info else None
        nested = [
            a
            for a in [annotation, *getattr(annotation, "__args__", ())]
            if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        if info is not None and not nested:
            cls = DataEntry if part == "data" else cls
        elif nested:
            cls = nested[0]
    return list(cls.model_fields)
