"""Reads what a recipe names together with its options: objectives, rewards, and the stages to evaluate."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic.fields import FieldInfo

from alignkit.recipe.section import Section


class Named(Section):
    """A name with its options. A recipe writes `NAME`, `{NAME: {option: value}}`, or a list of either.

    named: the field that takes the name. kind: what is named, for messages. several: how more than one is
    written, for people; empty where there may be only one. Where a subclass has a field `options`, it takes
    the options for which the subclass has no field: a plugin defines them.
    """

    named: ClassVar[str]
    kind: ClassVar[str]
    several: ClassVar[str] = "a list of these"

    @classmethod
    def settings(cls) -> dict[str, FieldInfo]:
        """Return the fields that a recipe sets below the name, beside the options of a plugin."""
        return {key: info for key, info in cls.model_fields.items() if key not in (cls.named, "options")}

    @classmethod
    def read(cls, raw: Any) -> Any:
        """Return the fields of each name in `raw`, as pydantic validates them.

        Raises ValueError where `raw` is no name, no mapping of names to options, and no list of these.
        """
        if isinstance(raw, tuple) and all(isinstance(item, cls) for item in raw):
            return raw
        return tuple(cls._read_one(name, options) for name, options in names_in(raw, cls.kind))

    @classmethod
    def _read_one(cls, name: str, options: dict[str, Any]) -> dict[str, Any]:
        if "options" not in cls.model_fields:
            return {cls.named: name, **options}
        own = {key: options.pop(key) for key in cls.settings() if key in options}
        return {cls.named: name, **own, "options": options}


def names_in(raw: Any, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the names in `raw`, each with its options.

    kind: what is named, for messages. Raises ValueError where `raw` has none of the forms.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    for item in raw if isinstance(raw, list | tuple) else [raw]:
        named = {item: None} if isinstance(item, str) else item
        if not isinstance(named, dict) or not named:
            raise ValueError(f"give the name of {kind}, {{name: options}}, or several of them")
        for name, options in named.items():
            if options is not None and not isinstance(options, dict):
                raise ValueError(f"the options of {name} must be a mapping, found {options!r}")
            found.append((str(name), dict(options or {})))
    return found
