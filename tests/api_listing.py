"""Writes down the public API: every name of `alignkit` and `alignkit.testing`, and every hook, with what it
takes. `make api` (`python tests/api_listing.py`) writes it to `tests/api-VERSION.txt`.
"""

import dataclasses
import inspect
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import alignkit
import alignkit.testing
from alignkit import API_VERSION, hookspecs
from alignkit.registry import Registry

FILE = Path(__file__).with_name(f"api-{API_VERSION}.txt")
WITHOUT_CONTENT = {"__version__", "API_VERSION", "Field", "hookimpl"}
"""Names whose value is another library's, or changes with each version."""


def listing() -> str:
    """The whole API as text, one line for each thing that an author may write."""
    lines = [line for module in (alignkit, alignkit.testing) for line in of_module(module)]
    return "\n".join([*lines, *of_hooks()]) + "\n"


def of_module(module: Any) -> Iterator[str]:
    for name in sorted(module.__all__):
        item = getattr(module, name)
        label = f"{module.__name__}.{name}"
        if name in WITHOUT_CONTENT:
            yield label
        elif isinstance(item, type):
            yield from of_class(label, item)
        elif callable(item):
            yield f"{label}{signature(item)}"
        else:
            yield f"{label} = {item!r}"


def of_hooks() -> Iterator[str]:
    """Each hook with what its `register` takes: of the method in the registry, without what it adds."""
    for hook in sorted(name for name in vars(hookspecs) if name.startswith("register_")):
        taken = signature(getattr(Registry, "_" + hook.removeprefix("register_")[:-1]), skip=2)
        yield f"{hook}: register{taken.partition(' -> ')[0]}"


def of_class(label: str, cls: type) -> Iterator[str]:
    parents = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    yield f"{label}({parents})" if parents else label
    fields = dict(own_fields(cls))
    for name, text in fields.items():
        yield f"{label}.{name}{text}"
    if not fields and getattr(vars(cls).get("__init__"), "__name__", "") == "__init__":
        yield f"{label}{signature(vars(cls)['__init__'], skip=1).partition(' -> ')[0]}"
    inherited = set(dir(BaseModel)) if issubclass(cls, BaseModel) else set(dir(object))
    for name, item in sorted(vars(cls).items()):
        if name.startswith("_") or name in inherited or name in fields:
            continue
        yield from of_member(f"{label}.{name}", item)


def own_fields(cls: type) -> Iterator[tuple[str, str]]:
    """The annotated names of a class itself, each with its type and default."""
    for name, kind in inspect.get_annotations(cls).items():
        if not name.startswith("_") and name != "model_config":
            yield name, f": {written(kind)}{default_of(cls, name)}"


def default_of(cls: type, name: str) -> str:
    if issubclass(cls, BaseModel) and name in cls.model_fields:
        info = cls.model_fields[name]
        return "" if info.is_required() else f" = {of_field(info)}"
    if dataclasses.is_dataclass(cls):
        field = next((field for field in dataclasses.fields(cls) if field.name == name), None)
        if field is not None and field.default_factory is not dataclasses.MISSING:
            return f" = {field.default_factory.__name__}()"
        return "" if field is None or field.default is dataclasses.MISSING else f" = {field.default!r}"
    return f" = {value_of(vars(cls)[name])}" if name in vars(cls) else ""


def of_field(info: FieldInfo) -> str:
    limits = "".join(f", {limit!r}" for limit in info.metadata)
    return f"{info.default!r}{limits}"


def of_member(label: str, item: Any) -> Iterator[str]:
    if isinstance(item, property):
        yield f"{label}: {written(inspect.signature(item.fget).return_annotation)} (read only)"  # type: ignore[arg-type]
    elif isinstance(item, cached_property):
        yield f"{label}: {written(inspect.signature(item.func).return_annotation)} (read only)"
    elif isinstance(item, classmethod | staticmethod):
        taken = signature(item.__func__, skip=int(isinstance(item, classmethod)))
        yield f"{label}{taken} ({type(item).__name__})"
    elif inspect.isfunction(item):
        yield f"{label}{signature(item, skip=1)}"
    elif not callable(item):
        yield f"{label} = {value_of(item)}"


def signature(function: Any, skip: int = 0) -> str:
    """The signature without its first `skip` parameters, with the annotations as the source has them."""
    whole = inspect.signature(function)
    kept = [p.replace(annotation=sourced(p.annotation)) for p in list(whole.parameters.values())[skip:]]
    return str(whole.replace(parameters=kept, return_annotation=sourced(whole.return_annotation)))


class Source:
    """An annotation that is printed as the source has it."""

    def __init__(self, annotation: Any) -> None:
        self.text = written(annotation)

    def __repr__(self) -> str:
        return self.text


def sourced(annotation: Any) -> Any:
    return annotation if annotation is inspect.Signature.empty else Source(annotation)


def written(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("collections.abc.", "").replace("NoneType", "None")


def value_of(value: Any) -> str:
    """A class attribute's value; sets are sorted, so that the text is the same in each process."""
    return str(sorted(value)) if isinstance(value, set | frozenset) else repr(value)


if __name__ == "__main__":
    FILE.write_text(listing(), encoding="utf-8")
    print(f"Written: {FILE}")
