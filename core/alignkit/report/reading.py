"""Reads a run's folder: its recipe, and the manifest, numbers and samples of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from alignkit.errors import UserError
from alignkit.report.answer_files import read_answers
from alignkit.report.evaluation_file import read_evaluation
from alignkit.report.parsing import read_json, readable
from alignkit.report.records import Quantization, RunRecord, StageRecord
from alignkit.run.folder import MANIFEST, RunFolder, StageFolder
from alignkit.run.kept_recipe import read_kept_recipe
from alignkit.run.manifest import Manifest, read_manifest
from alignkit.run.metrics import read_metrics

GIVE_A_RUN = "Give a run: the folder that `alignkit run` printed, runs/NAME"


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder.

    Raises UserError where the folder holds no run, or where one of its files cannot be read.
    """
    if not folder.is_dir():
        raise UserError("there is no such folder", where=str(folder), hint=f"{GIVE_A_RUN}.")
    if read_manifest(StageFolder(folder)) is not None:
        raise UserError(
            "this is one stage of a run",
            where=str(folder),
            hint=f"Give the run itself: {folder.resolve().parent}",
        )
    stages = [StageFolder(place) for place in sorted(folder.iterdir()) if place.is_dir()]
    manifests = {stage: read_manifest(stage) for stage in stages}
    found = {stage: manifest for stage, manifest in manifests.items() if manifest is not None}
    recipe = read_kept_recipe(RunFolder(folder))
    if not found and recipe is None:
        raise _no_run(folder, stages)
    by_name = {stage.name: _read_stage(stage, manifest) for stage, manifest in found.items()}
    planned = [name for name in (recipe.stages if recipe else ()) if name in by_name]
    left = _in_order({name: stage.manifest for name, stage in by_name.items() if name not in planned})
    ordered = tuple(by_name[name] for name in (*planned, *left))
    return RunRecord(folder.resolve().name, ordered, recipe)


def _no_run(folder: Path, stages: list[StageFolder]) -> UserError:
    """Return the error that tells what the folder holds instead of a run."""
    unreadable = [stage.name for stage in stages if stage.manifest.is_file()]
    if unreadable:
        return UserError(
            f"the manifests here are damaged, or another version of alignkit wrote them; "
            f"found {', '.join(unreadable)}",
            where=str(folder),
            hint="Run the recipe again; it does these stages again.",
        )
    inside = ", ".join(sorted(place.name for place in folder.iterdir())[:8]) or "nothing"
    return UserError(
        f"no run is here: none of its folders has a {MANIFEST}; found {inside}",
        where=str(folder),
        hint=f"{GIVE_A_RUN}, with a folder for each stage.",
    )


def _in_order(manifests: Mapping[str, Manifest]) -> list[str]:
    """Return the names, each after those it reads.

    Folders that an earlier recipe left may read each other in a circle, which is cut at the first name.
    """
    waiting, ordered = dict(sorted(manifests.items())), []
    while waiting:
        ready = [
            name
            for name, manifest in waiting.items()
            if not (set(manifest.inputs.reads) - {name}) & set(waiting)
        ]
        name = next(iter(ready or waiting))
        ordered.append(name)
        del waiting[name]
    return ordered


def _read_stage(folder: StageFolder, manifest: Manifest) -> StageRecord:
    with readable(folder.metrics):
        metrics = read_metrics(folder.metrics)
    return StageRecord(
        folder.name,
        manifest,
        tuple(metrics),
        read_json(folder.summary) or {},
        read_evaluation(folder.evaluation),
        read_answers(folder, manifest.inputs.verb),
        read_json(folder.data_report) or {},
        _read_quantization(folder.quantization),
    )


def _read_quantization(path: Path) -> Quantization | None:
    raw = read_json(path)
    if raw is None:
        return None
    known = {field.name for field in fields(Quantization)}
    with readable(path):
        return Quantization(**{name: value for name, value in raw.items() if name in known})
