"""Collects all that a stage's result depends on, so that an unchanged stage is not run again."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from alignkit.data.fingerprint import data_fingerprint
from alignkit.recipe import Train
from alignkit.registry import Registry
from alignkit.run.manifest import Inputs
from alignkit.stages.plan import Plan
from alignkit.stages.planned import PlannedStage, stage_seed


def stage_inputs(
    stage: PlannedStage[Any], plan: Plan, registry: Registry, base: str, done: Mapping[str, str]
) -> Inputs:
    """Return the inputs of a stage. base: the base's fingerprint. done: those of the stages before it."""
    reads = {
        name: done[name] if name in plan.stages else data_fingerprint(plan.data[name]) for name in stage.needs
    }
    reads |= {name: data_fingerprint(entry) for name, entry in stage.entries.items()}
    return Inputs(
        alignkit=version("alignkit"),
        verb=stage.verb,
        settings=stage.effective_settings,
        code=_code(stage, plan, registry),
        model={**plan.recipe.model.model_dump(mode="json"), "content": base},
        seed=stage_seed(stage.settings, plan.recipe),
        reads=reads,
        terms=stage.terms,
    )


def _code(stage: PlannedStage[Any], plan: Plan, registry: Registry) -> dict[str, str]:
    """Return the SHA-256 of every plugin's file that the stage's result depends on."""
    formats = {
        plan.data[name].format
        if name in plan.data
        else "auto"  # what a stage wrote is recognized by its rows
        for name in stage.settings.inputs
        if name in plan.data or not isinstance(plan.stages[name].settings, Train)
    }
    formats |= {entry.format for entry in stage.entries.values()}
    named = [(registry.formats, name) for name in registry.formats.items if formats & {"auto", name}]
    return {
        f"{shelf.kind} {name}": shelf.source_hash(name) for shelf, name in [*stage.uses(registry), *named]
    }
