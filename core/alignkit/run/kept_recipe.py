"""Keeps beside a run the recipe that it runs: as written, as planned, and what the command line changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alignkit.run.files import write_text
from alignkit.run.folder import RunFolder


@dataclass(frozen=True)
class RecipeSource:
    """Where a recipe came from. file: as the command was given it. text: what the file held."""

    file: str
    text: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeptRecipe:
    """A recipe as a run keeps it.

    stages: their names, in the order in which they are done. planned: the recipe as plain values, with
    overrides and defaults. source: None where the recipe was no file.
    """

    stages: tuple[str, ...]
    planned: Mapping[str, Any] = field(default_factory=dict)
    source: RecipeSource | None = None


def read_source(file: Path, overrides: Sequence[str]) -> RecipeSource:
    """Return a recipe's source."""
    return RecipeSource(str(file), file.read_text(encoding="utf-8"), tuple(overrides))


def keep_recipe(run: RunFolder, recipe: KeptRecipe) -> None:
    """Write the recipe into the run's folder."""
    write_text(run.recipe, json.dumps(asdict(recipe), indent=2, default=str, ensure_ascii=False) + "\n")


def read_kept_recipe(run: RunFolder) -> KeptRecipe | None:
    """Return the recipe that the run keeps; None where there is none that can be read."""
    try:
        raw = json.loads(run.recipe.read_text(encoding="utf-8"))
        source = raw["source"] and RecipeSource(
            **{**raw["source"], "overrides": tuple(raw["source"]["overrides"])}
        )
        return KeptRecipe(tuple(raw["stages"]), dict(raw["planned"]), source)
    except (OSError, ValueError, TypeError, KeyError):
        return None
