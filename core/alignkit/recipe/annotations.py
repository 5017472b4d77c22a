"""Takes the types of fields apart."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def members(annotation: Any) -> list[Any]:
    """Return the types of a union without None. Any other type is returned alone."""
    annotation = _bare(annotation)
    if get_origin(annotation) not in (Union, UnionType):
        return [annotation]
    return [_bare(member) for member in get_args(annotation) if member is not NoneType]


def constraints(annotation: Any) -> list[Any]:
    """Return what pydantic's fields say of the members of a union, such as the bounds of a number."""
    annotation = _bare(annotation)
    if get_origin(annotation) not in (Union, UnionType):
        return []
    notes = [note for member in get_args(annotation) for note in getattr(member, "__metadata__", ())]
    return [limit for note in notes if isinstance(note, FieldInfo) for limit in note.metadata]


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the pydantic model that a type is, with or without None. None means that it is another type."""
    kinds = members(annotation)
    if len(kinds) == 1 and isinstance(kinds[0], type) and issubclass(kinds[0], BaseModel):
        return kinds[0]
    return None


def element_in(annotation: Any) -> Any:
    """Return the type of a list's items or of a mapping's values. None means that it is another type."""
    (kind, *others) = members(annotation)
    arguments = get_args(kind)
    if others or not arguments:
        return None
    if get_origin(kind) is dict:
        return arguments[1]
    return arguments[0] if get_origin(kind) in (list, tuple) else None
