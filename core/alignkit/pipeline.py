"""Runs a plan's stages in order: skips finished ones, resumes interrupted ones, does changed ones again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from alignkit.display import TerminalDisplay
from alignkit.models.base import compute_dtype
from alignkit.progress import counting, doing
from alignkit.registry import Registry
from alignkit.run.files import disk_errors
from alignkit.run.folder import RunFolder, StageFolder
from alignkit.run.hardware import find_hardware
from alignkit.run.kept_recipe import KeptRecipe, RecipeSource, keep_recipe
from alignkit.run.lock import locked
from alignkit.run.manifest import begin, finish, missing_or_changed, read_manifest
from alignkit.stages.context import make_context
from alignkit.stages.inputs import stage_inputs
from alignkit.stages.plan import Plan
from alignkit.stages.working import work_on


def run_plan(
    plan: Plan,
    registry: Registry,
    out: Path,
    display: TerminalDisplay,
    source: RecipeSource | None = None,
) -> dict[str, dict[str, Any]]:
    """Run every stage in `out/<recipe name>/<stage>/`; return the summaries of the stages that ran.

    source: the recipe's file, which the run keeps beside its stages.
    """
    run = RunFolder(out / plan.recipe.name)
    summaries: dict[str, dict[str, Any]] = {}
    with locked(run.path), disk_errors(run.path):
        keep_recipe(run, KeptRecipe(tuple(plan.stages), plan.recipe.model_dump(mode="json"), source))
        device = Accelerator().device
        context = make_context(plan, registry, run, display, device)
        hardware = find_hardware(device, compute_dtype(plan.recipe.model.dtype, device))
        with doing(counting(display, "finding the base")):
            base = context.base.fingerprint
        done: dict[str, str] = {}
        for name, stage in plan.stages.items():
            folder = run.stage(name)
            display.begin(name, stage.line, stage.metrics)
            with doing(counting(display, "comparing the stage with earlier runs")):
                inputs = stage_inputs(stage, plan, registry, base, done)
                done[name] = inputs.fingerprint
                skipped = _is_done(folder, run, inputs.fingerprint, display)
            if skipped:
                continue
            manifest = begin(folder, inputs, stage.line, stage.metrics, hardware)
            summaries[name] = work_on(stage, replace(context, seed=inputs.seed), folder)
            with doing(counting(display, "writing the manifest")):
                finish(folder, manifest)
            display.finish()
    return summaries


def _is_done(folder: StageFolder, run: RunFolder, fingerprint: str, display: TerminalDisplay) -> bool:
    """Tell whether the folder already holds this very stage, finished.

    A folder that was made of other inputs is moved aside, not deleted.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        # The manifest is written before anything else: without one, nobody knows what made these files.
        if folder.path.is_dir() and any(folder.path.iterdir()):
            _set_aside(folder, run, "unknown", "its manifest is missing or unreadable", display)
        return False
    if manifest.fingerprint != fingerprint:
        _set_aside(folder, run, manifest.fingerprint, "its inputs changed", display)
        return False
    if not manifest.done:
        return False
    damaged = missing_or_changed(folder, manifest)
    if damaged:
        _set_aside(folder, run, manifest.fingerprint, f"{damaged[0]} is missing or was changed", display)
        return False
    display.note("unchanged since it was done; skipped")
    return True


def _set_aside(
    folder: StageFolder, run: RunFolder, fingerprint: str, why: str, display: TerminalDisplay
) -> None:
    run.superseded.mkdir(exist_ok=True)
    number = 0
    while (target := run.superseded / f"{folder.name}-{fingerprint[:8]}-{number}").exists():
        number += 1
    folder.path.rename(target)
    display.note(f"{why}: done again; the old result is kept in {target}")
