"""Defines a whole recipe, and brings its stages into an order in which each comes after those it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from alignkit.errors import UserError, nearest
from alignkit.recipe.file import apply_override, read_yaml
from alignkit.recipe.mistakes import validate
from alignkit.recipe.model import Model
from alignkit.recipe.repeat import unroll
from alignkit.recipe.section import Section
from alignkit.recipe.seeds import expand
from alignkit.recipe.settings import DataEntry, Training, shorthand
from alignkit.recipe.terms import BASE
from alignkit.recipe.verbs import VERBS, StageSettings, Train

PathAlone = Annotated[str, Field(pattern=r"[/.]")]
"""A path in the place of a data entry: see `shorthand`."""
TAKEN = {
    BASE: "the base",
    "report": "the folder of the report's pictures",
    "superseded": "the folder of superseded results",
}
"""Names that no stage can have, and what they mean."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Recipe(Section):
    """A whole recipe.

    `stages` holds plain values as the recipe is read; `parse_recipe` puts `StageSettings` in their place.
    """

    name: str = Field(description="name of the recipe, and of the folder that a run of it writes")
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="decides every random choice: the same seed makes the same run"
    )
    model: Model = Field(default=Model(), description="the frozen base that all roles share")
    data: dict[
        str, Annotated[DataEntry, BeforeValidator(shorthand, json_schema_input_type=DataEntry | PathAlone)]
    ] = Field(default={}, description="data that stages read, by name; a path alone is short for {path: …}")
    training: Training = Field(
        default=Training(), description="settings of all training stages, where a stage does not set its own"
    )
    stages: dict[str, Any] = Field(
        description="what is done, by name; a stage has the key of one verb: train, sample, label, evaluate; "
        "a block of stages has the key stages, and repeat or seeds"
    )

    def needs(self, stage: StageSettings) -> list[str]:
        """Return the names of the data and stages that a stage needs, reward models included."""
        return list(dict.fromkeys([*stage.inputs, *(name for name in stage.rewards if name in self.stages)]))


def load_recipe(path: Path, overrides: Iterable[str] | None = None) -> Recipe:
    """Read, override and validate a recipe. Raises UserError with the key path of the first mistake."""
    raw = read_yaml(path)
    for override in overrides or ():
        apply_override(raw, override)
    return parse_recipe(raw, str(path))


def parse_recipe(raw: Any, source: str = "recipe") -> Recipe:
    """Validate a recipe that is given as plain values. `source` is its file, for messages."""
    if not isinstance(raw, dict):
        raise UserError(f"a recipe is a mapping of keys, found {type(raw).__name__}", where=source)
    recipe = validate(Recipe, raw, "")
    _check_name(recipe.name, "name")
    shared = raw.get("training") or {}  # as it is written: each stage reads it for itself
    written = expand(unroll(recipe.stages), recipe.seed)
    stages = {name: parse_stage(name, stage, shared) for name, stage in written.items()}
    if not stages:
        raise UserError("a recipe needs at least one stage", where="stages")
    _check_references(stages, recipe.data)
    recipe = recipe.model_copy(update={"stages": stages})
    return recipe.model_copy(update={"stages": _in_order(recipe)})


def parse_stage(name: str, raw: Any, shared: dict[str, Any]) -> StageSettings:
    """Validate a stage that is given as plain values. `shared` are the settings of all training stages."""
    where = f"stages.{name}"
    _check_name(name, where)
    verbs = [verb for verb in VERBS if isinstance(raw, dict) and verb in raw]
    if len(verbs) != 1:
        found = ", ".join(map(str, raw)) if isinstance(raw, dict) else repr(raw)
        raise UserError(
            f"a stage has exactly one of the verbs {', '.join(VERBS)}; found {found}", where=where
        )
    cls = VERBS[verbs[0]]
    return validate(cls, _over(shared, raw) if cls is Train else raw, where)


def _over(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Lay a stage's own settings over the shared ones; of `sampling`, setting by setting."""
    merged = {**shared, **own}
    if isinstance(shared.get("sampling"), dict) and isinstance(own.get("sampling"), dict):
        merged["sampling"] = {**shared["sampling"], **own["sampling"]}
    return merged


def _check_references(stages: dict[str, StageSettings], data: dict[str, DataEntry]) -> None:
    """Refuse a stage's name that has a meaning already, and an input that nothing is named."""
    for name, stage in stages.items():
        if name in data or name in TAKEN:
            raise UserError(
                f"{name!r} is both a stage and {TAKEN.get(name, 'data')}",
                where=f"stages.{name}",
                hint="Rename one of them.",
            )
        for needed in stage.inputs:
            if needed not in stages and needed not in data:
                raise UserError(
                    f"no stage and no data is named {needed!r}",
                    where=f"stages.{name}",
                    hint=nearest(needed, [*stages, *data]),
                )


def _in_order(recipe: Recipe) -> dict[str, StageSettings]:
    """Return the stages so that each comes after those it needs, as written where possible.

    Raises UserError for stages that wait for each other.
    """
    left: dict[str, StageSettings] = dict(recipe.stages)
    done: dict[str, StageSettings] = {}
    while left:
        ready = next((name for name in left if not left.keys() & set(recipe.needs(left[name]))), None)
        if ready is None:
            raise UserError(
                f"the stages {', '.join(left)} wait for each other",
                where="stages",
                hint="Break the cycle of `on`, `start`, `reward`, `sample`, `label`.",
            )
        done[ready] = left.pop(ready)
    return done


def _check_name(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no valid name",
            where=where,
            hint="Use letters, digits, - and _, and begin with a letter or digit: names become folders.",
        )
