"""Plans a recipe: looks up every name and validates every option, before anything heavy loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.recipe import DataEntry, Evaluate, Label, Recipe, Sample, StageSettings, Train
from alignkit.registry import Registry
from alignkit.stages.entries import resolve
from alignkit.stages.evaluate.plan import plan_evaluate
from alignkit.stages.label.plan import plan_label
from alignkit.stages.planned import PlannedStage
from alignkit.stages.sample.plan import plan_sample
from alignkit.stages.train.plan import PlannedTrain, plan_train

PLANS: Mapping[type[StageSettings], Callable[..., PlannedStage[Any]]] = {
    Train: plan_train,
    Sample: plan_sample,
    Label: plan_label,
    Evaluate: plan_evaluate,
}


@dataclass(frozen=True)
class Plan:
    """A recipe that is ready to run: its stages in order, and its data with paths that can be opened."""

    recipe: Recipe
    data: Mapping[str, DataEntry]
    stages: Mapping[str, PlannedStage[Any]]

    def lines(self) -> list[str]:
        """Return the plan, one line per stage."""
        width = max(map(len, self.stages))
        return [f"{name:<{width}}  {stage.line}" for name, stage in self.stages.items()]

    def notes(self) -> list[str]:
        """Return what a user may like to know before a run, one line each.

        Stages that learn from their own samples train without dropout.
        """
        trains = [stage for stage in self.stages.values() if isinstance(stage, PlannedTrain)]
        offline = any(not stage.online for stage in trains)
        slower = [name for name in self.recipe.model.lora.slower_by if name != "dropout" or offline]
        if not trains or not slower:
            return []
        return [f"adapters are computed by PEFT, which is slower: {', '.join(slower)}"]


def make_plan(recipe: Recipe, registry: Registry, beside: Path) -> Plan:
    """Validate a recipe against what is registered.

    Relative data paths are looked for here, then in the folder `beside`. Raises UserError for the first
    mistake.
    """
    data = {name: resolve(entry, beside, f"data.{name}", registry) for name, entry in recipe.data.items()}
    recipe = _with_whole_path(recipe, registry)
    stages = {
        name: PLANS[type(settings)](name, settings, recipe, registry, beside)
        for name, settings in recipe.stages.items()
    }
    return Plan(recipe, data, stages)


def _with_whole_path(recipe: Recipe, registry: Registry) -> Recipe:
    """Write out the path of a base in a local folder: however it is spelled, it is one folder."""
    base = recipe.model.base
    if base in registry.models.items or not Path(base).is_dir():
        return recipe
    model = recipe.model.model_copy(update={"base": str(Path(base).resolve())})
    return recipe.model_copy(update={"model": model})
