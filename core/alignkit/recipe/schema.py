"""A whole recipe: its sections, and its stages in an order in which each comes after those it needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from alignkit.errors import UserError, nearest
from alignkit.recipe.file import apply_override, read_yaml
from alignkit.recipe.mistakes import validate
from alignkit.recipe.repeat import unroll
from alignkit.recipe.settings import DataEntry, Model, Section, Training, shorthand
from alignkit.recipe.verbs import BASE, VERBS, StageSettings, Train

TAKEN = {
    BASE: "the base",
    "report": "the folder of the report's pictures",
    "superseded": "the folder of superseded results",
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Recipe(Section):
    """A whole recipe, its stages in an order in which each comes after those it needs."""

    name: str
    seed: int = Field(default=0, ge=0, lt=2**63)
    model: Model = Model()
    data: dict[str, Annotated[DataEntry, BeforeValidator(shorthand)]] = {}
    training: Training = Training()
    stages: dict[str, Any]

    def needs(self, stage: StageSettings) -> list[str]:
        """Names of the data and stages that a stage needs, reward models included."""
        return [*dict.fromkeys([*stage.inputs, *(name for name in stage.rewards if name in self.stages)])]


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read, override and validate a recipe. Raises UserError with the key path of the first mistake."""
    raw = read_yaml(path)
    for override in overrides or []:
        apply_override(raw, override)
    return parse_recipe(raw, str(path))


def parse_recipe(raw: Any, source: str = "recipe") -> Recipe:
    """A validated recipe from a plain mapping."""
    if not isinstance(raw, dict):
        raise UserError(f"a recipe is a mapping of keys, found {type(raw).__name__}", where=source)
    recipe = validate(Recipe, raw, "")
    _check_name(recipe.name, "name")
    shared = recipe.training.model_dump(exclude_unset=True)
    stages = {name: _parse_stage(name, stage, shared) for name, stage in unroll(recipe.stages).items()}
    if not stages:
        raise UserError("a recipe needs at least one stage", where="stages")
    recipe = recipe.model_copy(update={"stages": stages})
    return recipe.model_copy(update={"stages": _in_order(recipe)})


def _parse_stage(name: str, raw: Any, shared: dict[str, Any]) -> StageSettings:
    where = f"stages.{name}"
    _check_name(name, where)
    verbs = [verb for verb in VERBS if isinstance(raw, dict) and verb in raw]
    if len(verbs) != 1:
        found = ", ".join(map(str, raw)) if isinstance(raw, dict) else repr(raw)
        raise UserError(
            f"a stage has exactly one of the verbs {', '.join(VERBS)}; found {found}", where=where
        )
    cls = VERBS[verbs[0]]
    if cls is Train:
        merged = {**shared, **raw}
        if isinstance(shared.get("sampling"), dict) and isinstance(raw.get("sampling"), dict):
            merged["sampling"] = {**shared["sampling"], **raw["sampling"]}
        return validate(cls, merged, where)
    return validate(cls, raw, where)


def _in_order(recipe: Recipe) -> dict[str, StageSettings]:
    """The stages in a topological order, as written where possible; unknown inputs and cycles are errors."""
    stages, data = recipe.stages, recipe.data
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
    done: dict[str, StageSettings] = {}
    while len(done) < len(stages):
        ready = [
            name
            for name in stages
            if name not in done and all(i in done or i in data for i in recipe.needs(stages[name]))
        ]
        if not ready:
            left = [name for name in stages if name not in done]
            raise UserError(
                f"the stages {', '.join(left)} wait for each other",
                where="stages",
                hint="Break the cycle of `on`, `start`, `reward`, `sample`, `label`.",
            )
        done[ready[0]] = stages[ready[0]]
    return done


def _check_name(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no valid name",
            where=where,
            hint="Names become folders: letters, digits, - and _, a letter or digit first.",
        )
