"""Makes the JSON schema with which editors complete and check recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from alignkit.recipe.annotations import model_in
from alignkit.recipe.named import Named
from alignkit.recipe.repeat import Block
from alignkit.recipe.schema import Recipe
from alignkit.recipe.settings import ObserverTerm, OptimizerTerm
from alignkit.recipe.terms import RewardTerm, Term
from alignkit.recipe.verbs import VERBS, Target
from alignkit.registry import Registry, Shelf

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Leaves out titles, which repeat the keys.

    Accepts any value for a plugin's option whose type JSON cannot describe, and leaves out such a default.
    """

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}


def recipe_schema(registry: Registry) -> dict[str, Any]:
    """Return the JSON schema of recipes, with all that is registered and its options.

    It accepts the short forms that recipes use. It also accepts some mistakes: for example, it does not know
    whether a stage that is named exists.
    """
    stages = (*VERBS.values(), Block)
    shelves = (registry.objectives, registry.rewards, registry.observers, registry.optimizers)
    models = [model for shelf in shelves for model in _models(shelf)]
    named = (Term, RewardTerm, Target, ObserverTerm, OptimizerTerm)
    wanted = dict.fromkeys([Recipe, *stages, *named, *models])
    references, made = models_json_schema(
        [(cls, "validation") for cls in wanted], schema_generator=_Generator
    )
    definitions = _Definitions(made["$defs"], {cls: references[cls, "validation"] for cls in wanted})

    definitions.of(Recipe)["properties"]["stages"] |= definitions.any_by_name(stages)
    definitions.of(Block)["properties"]["stages"] |= definitions.any_by_name(VERBS.values())
    definitions.let_names_stand(Term, registry.objectives, others=False, lists=False)
    definitions.let_names_stand(RewardTerm, registry.rewards)
    definitions.let_names_stand(Target)
    definitions.let_names_stand(ObserverTerm, registry.observers, others=False)
    definitions.let_names_stand(OptimizerTerm, registry.optimizers, others=False, lists=False)
    root = definitions.references[Recipe]
    return {"$schema": DIALECT, "title": "alignkit recipe", **root, "$defs": definitions.schemas}


@dataclass(frozen=True)
class _Definitions:
    """The schemas that a JSON schema defines by name, with a reference to each class's schema."""

    schemas: dict[str, Any]
    references: Mapping[type[BaseModel], JsonSchemaValue]

    def of(self, cls: type[BaseModel]) -> dict[str, Any]:
        """Return the schema of a class."""
        return self.schemas[self._name(cls)]

    def _name(self, cls: type[BaseModel]) -> str:
        return self.references[cls]["$ref"].rpartition("/")[2]

    def any_by_name(self, classes: Iterable[type[BaseModel]]) -> dict[str, Any]:
        """Return the schema of a mapping from names to any of these classes."""
        return {"additionalProperties": {"anyOf": [self.references[cls] for cls in classes]}}

    def let_names_stand(
        self, cls: type[Named], shelf: Shelf | None = None, *, others: bool = True, lists: bool = True
    ) -> None:
        """Replace the schema of a class, and of tuples of it, by one of the forms that `Named.read` reads.

        shelf: what is registered. others: names that are not registered may stand too, without a plugin's
        options. lists: a list may stand.
        """
        self._replace_tuples(cls)
        fields = self.of(cls)["properties"]
        settings = {key: fields[key] for key in cls.settings()}
        items = shelf.items if shelf is not None else {}
        known = {name: self._with_options(item, settings) for name, item in items.items()}
        name: dict[str, Any] = {"type": "string"} if others else {"enum": list(known)}
        mapping = {
            "type": "object",
            "properties": known,
            "additionalProperties": _options(settings) if others else False,
        }
        forms = [name, mapping]
        if lists:
            forms.append({"type": "array", "items": {"anyOf": [name, mapping]}})
        self.schemas[self._name(cls)] = {"anyOf": forms}

    def _replace_tuples(self, cls: type[Named]) -> None:
        """Let fields that hold several of a class refer to its schema, which also has a form for several."""
        for schema in self.schemas.values():
            for field in schema.get("properties", {}).values():
                if field.get("items") == self.references[cls]:
                    for key in ("type", "items", "minItems"):
                        field.pop(key, None)
                    field |= self.references[cls]
                    if field.get("default"):
                        field["default"] = field["default"][0][cls.named]

    def _with_options(self, item: Any, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of the options of something registered: its own, and the recipe's settings."""
        model = model_in(item)
        if model is None:  # a plain function
            return _options(settings)
        own = self.of(model)
        form = _options({**own.get("properties", {}), **settings}, own.get("required", []))
        return {"description": own.get("description", ""), **form}


def _options(fields: dict[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """Return the schema of a mapping with these fields, which may be left empty where none is required."""
    kind = "object" if required else ["object", "null"]
    return {"type": kind, "properties": fields, "required": list(required), "additionalProperties": False}


def _models(shelf: Shelf) -> list[type[BaseModel]]:
    """Return the classes of options among what is registered."""
    return [model for item in shelf.items.values() if (model := model_in(item)) is not None]
