"""Runs a plan's stages in order: finished ones are skipped, interrupted ones resumed, changed ones done again
with all that follows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import Accelerator

from alignkit import __version__
from alignkit.data.loading import fingerprint as data_fingerprint
from alignkit.display import TerminalDisplay
from alignkit.models.base import fingerprint as base_fingerprint
from alignkit.recipe import Evaluate, Sample, Train
from alignkit.registry import Registry
from alignkit.run.files import disk_errors
from alignkit.run.lock import locked
from alignkit.run.manifest import begin, fingerprint_of, finish, missing_or_changed, read_manifest
from alignkit.stages import Workshop, run_stage
from alignkit.stages.plan import Plan, PlannedStage

WITHOUT_EFFECT = {"trackers", "keep_checkpoints", "save_every"}


def run_plan(
    plan: Plan, registry: Registry, out: Path, display: TerminalDisplay
) -> dict[str, dict[str, Any]]:
    """Run every stage in `out/<recipe name>/<stage>/`; returns the summaries of those that ran."""
    folder = out / plan.recipe.name
    summaries: dict[str, dict[str, Any]] = {}
    with locked(folder), disk_errors(folder):
        shop = Workshop(plan, registry, folder, display, Accelerator())
        fingerprints: dict[str, str] = {}
        base = base_fingerprint(plan.recipe.model, registry)
        for name, planned in plan.stages.items():
            display.begin(name, planned.line)
            inputs = stage_inputs(planned, plan, registry, base, fingerprints)
            fingerprints[name] = fingerprint_of(inputs)
            if _is_done(folder / name, fingerprints[name], display):
                continue
            begin(folder / name, inputs)
            summaries[name] = run_stage(planned, shop, folder / name)
            finish(folder / name, inputs)
            display.end()
    return summaries


def stage_inputs(
    planned: PlannedStage, plan: Plan, registry: Registry, base: str, done: dict[str, str]
) -> dict[str, Any]:
    """All that a stage's result depends on: settings, code of its methods, model, seed, and what it reads."""
    stage = planned.stage
    settings = stage.model_dump(
        mode="json",
        exclude=WITHOUT_EFFECT | {"train"} | ({"held_out"} if planned.held_out is not None else set()),
    )
    terms = [
        {
            **term.objective.model_dump(mode="json"),
            "objective": term.objective.name,
            "weight": term.weight,
            "on": term.on,
            "trains": sorted(term.objective.trains),
        }
        for term in planned.terms
    ]
    needed = plan.recipe.needs(stage)
    read = {name: done[name] if name in plan.stages else data_fingerprint(plan.data[name]) for name in needed}
    if planned.held_out is not None:
        read["held out"] = data_fingerprint(planned.held_out)
    return {
        "alignkit": __version__,
        "stage": type(stage).__name__.lower(),
        "settings": settings,
        "terms": terms,
        "code": _code(planned, plan, registry),
        "model": {**plan.recipe.model.model_dump(mode="json"), "content": base},
        "seed": plan.recipe.seed,
        "reads": read,
    }


def _code(planned: PlannedStage, plan: Plan, registry: Registry) -> dict[str, str]:
    """The SHA-256 of every plugin file that the stage's result depends on."""
    stage = planned.stage
    rewards = (*planned.rewards, *planned.watch, *(reward for rewards in planned.best for reward in rewards))
    used = [(registry.objectives, term.objective.name) for term in planned.terms]
    used += [(registry.rewards, reward.name) for reward in rewards if reward.call is not None]
    used += [(registry.measures, measure) for measure in planned.measures]
    # a reward model is evaluated without samples
    if isinstance(stage, Sample) or (isinstance(stage, Evaluate) and planned.measures):
        used.append((registry.samplers, stage.sampler))
    if isinstance(stage, Train) and any(term.online for term in planned.terms):
        used.append((registry.samplers, stage.sampling.sampler))
    read = [
        name for name in stage.inputs if name in plan.data or not isinstance(plan.stages[name].stage, Train)
    ]
    formats = {plan.data[name].format if name in plan.data else "auto" for name in read}
    if planned.held_out is not None:
        formats.add(planned.held_out.format)
    used += [(registry.formats, name) for name in registry.formats.items if formats & {"auto", name}]
    return {f"{shelf.kind} {name}": shelf.source_hash(name) for shelf, name in used}


def _is_done(folder: Path, fingerprint: str, display: TerminalDisplay) -> bool:
    """Whether the folder already holds this very stage, finished. One made of other inputs is moved aside,
    not deleted.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        # The manifest is written before anything else: without one, whatever lies here is of unknown making.
        if folder.is_dir() and any(folder.iterdir()):
            _set_aside(folder, "unknown", "its manifest is missing or unreadable", display)
        return False
    if manifest.fingerprint != fingerprint:
        _set_aside(folder, manifest.fingerprint, "its inputs changed", display)
        return False
    if not manifest.done:
        return False
    damaged = missing_or_changed(folder, manifest)
    if damaged:
        _set_aside(folder, manifest.fingerprint, f"{damaged[0]} is missing or was changed", display)
        return False
    display.note("unchanged since it was done; skipped")
    return True


def _set_aside(folder: Path, fingerprint: str, why: str, display: TerminalDisplay) -> None:
    shelf = folder.parent / "superseded"
    shelf.mkdir(exist_ok=True)
    number = 0
    while (target := shelf / f"{folder.name}-{fingerprint[:8]}-{number}").exists():
        number += 1
    folder.rename(target)
    display.note(f"{why}: done again; the old result is kept in {target}")
