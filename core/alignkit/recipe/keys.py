"""Lists the keys that a recipe may have, each with its type, default, bounds and description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from alignkit.errors import UserError, nearest
from alignkit.recipe.annotations import element_in, members, model_in
from alignkit.recipe.named import Named
from alignkit.recipe.repeat import Block
from alignkit.recipe.schema import Recipe
from alignkit.recipe.settings import DataEntry, Drawing, ObserverTerm, OptimizerTerm, Training
from alignkit.recipe.terms import RewardTerm, Term
from alignkit.recipe.verbs import VERBS
from alignkit.recipe.wording import bounds_in_words, default_in_words, type_in_words
from alignkit.registry import Registry

LISTED_AT = {Training: "training", Drawing: "training.sampling", DataEntry: "data.<name>"}
"""Where the keys of sections are listed that stand in several places."""


@dataclass(frozen=True)
class Key:
    """A key of a recipe.

    path: the keys that lead to it. `<word>` in it stands for a name that a recipe's author chooses, of what
    the word says. keys: what stands below it. further: what stands below it too, but is listed at the path
    `listed_at`; where this is empty, it is listed only for a reader who asks for this key.
    """

    path: str
    description: str
    type: str = "mapping"
    default: str = ""
    bounds: str = ""
    required: bool = False
    keys: tuple[Key, ...] = ()
    further: tuple[Key, ...] = ()
    listed_at: str = ""

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return self.path.rpartition(".")[2]


def recipe_keys(registry: Registry) -> tuple[Key, ...]:
    """Return the keys at the top of a recipe, with the options of all that is registered below."""
    return _Lister(registry).fields(Recipe.model_fields, "")


def find_keys(path: str, registry: Registry) -> list[Key]:
    """Return the keys that a path may mean: a key of a stage differs from verb to verb.

    Any name may stand where a recipe's author chooses one. A verb in the place of a stage's name leaves only
    the keys of this verb. Raises UserError, with the nearest key, where there is none.
    """
    found: list[Key] = []
    below = recipe_keys(registry)
    for part in path.split("."):
        found = _called(part, below)
        if not found:
            hint = nearest(part, (key.name for key in below)) if below else "This key has no keys below it."
            raise UserError("unknown key", where=path, hint=hint)
        below = tuple(inner for key in found for inner in (*key.keys, *key.further))
    return found


def _called(part: str, keys: Iterable[Key]) -> list[Key]:
    """Return the keys that a part of a path means: by name, else by verb, else those with any name."""
    keys = list(keys)
    return (
        [key for key in keys if key.name == part]
        or [key for key in keys if key.name == f"<{part}>"]
        or [key for key in keys if key.name.startswith("<")]
    )


class _Below(NamedTuple):
    """What stands below a key, see `Key`."""

    keys: tuple[Key, ...] = ()
    further: tuple[Key, ...] = ()
    listed_at: str = ""


class _Lister:
    """Lists the keys of sections, down to the options of what is registered."""

    def __init__(self, registry: Registry) -> None:
        self.registered: Mapping[type[Named], Mapping[str, Any]] = {
            Term: registry.objectives.items,
            RewardTerm: registry.rewards.items,
            ObserverTerm: registry.observers.items,
            OptimizerTerm: registry.optimizers.items,
        }

    def fields(self, fields: Mapping[str, FieldInfo], path: str) -> tuple[Key, ...]:
        """Return the keys of a section's fields. `path` is the section's, empty for the recipe itself."""
        named = ((info.alias or name, info) for name, info in fields.items())
        return tuple(self._field(info, f"{path}.{name}" if path else name) for name, info in named)

    def _field(self, info: FieldInfo, path: str) -> Key:
        return Key(
            path,
            info.description or "",
            type_in_words(info.annotation),
            default_in_words(info),
            bounds_in_words(info),
            info.is_required(),
            *self._below_field(info, path),
        )

    def _below_field(self, info: FieldInfo, path: str) -> _Below:
        if path == "stages":
            return _Below(self._stages(path, {**VERBS, "block": Block}))
        if path == "stages.<block>.stages":
            return _Below((), self._stages(path, VERBS), "stages")
        below = (self._below_type(kind, path) for kind in members(info.annotation))
        return next(filter(any, below), _Below())

    def _below_type(self, kind: Any, path: str) -> _Below:
        section, element = model_in(kind), model_in(element_in(kind))
        if section is not None:
            keys, listed_at = self.fields(section.model_fields, path), LISTED_AT.get(section, path)
            return _Below(keys) if listed_at == path else _Below((), keys, listed_at)
        if element is None:
            return _Below()
        if issubclass(element, Named):
            return self._names(element, path)
        name = f"{path}.<name>"
        return _Below((Key(name, _summary(element), keys=self.fields(element.model_fields, name)),))

    def _names(self, cls: type[Named], path: str) -> _Below:
        """Return a key for any name, and further keys for the registered names."""
        any_name = f"{path}.<{cls.named}>"
        settings = cls.settings()
        further = []
        for name, item in sorted(self.registered.get(cls, {}).items()):
            model = model_in(item)
            options = {**(model.model_fields if model is not None else {}), **settings}
            keys = self.fields(options, f"{path}.{name}")
            further.append(Key(f"{path}.{name}", _summary(item), keys=keys))
        return _Below((Key(any_name, _summary(cls), keys=self.fields(settings, any_name)),), tuple(further))

    def _stages(self, path: str, kinds: Mapping[str, type[BaseModel]]) -> tuple[Key, ...]:
        """Return a key for each kind of stage, called by its verb."""
        return tuple(self._stage(f"{path}.<{verb}>", cls) for verb, cls in kinds.items())

    def _stage(self, path: str, cls: type[BaseModel]) -> Key:
        """Describe a kind of stage; the fields of a class from which it derives are listed elsewhere."""
        parent = next((base for base in cls.__bases__ if base in LISTED_AT), None)
        inherited = parent.model_fields if parent else {}
        own = {name: info for name, info in cls.model_fields.items() if name not in inherited}
        further = self.fields(inherited, path)
        listed_at = LISTED_AT[parent] if parent else ""
        return Key(path, _summary(cls), keys=self.fields(own, path), further=further, listed_at=listed_at)


def _summary(item: Any) -> str:
    return (item.__doc__ or "").strip().partition("\n")[0]
