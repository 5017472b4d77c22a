"""Reads a run's folder: the manifest, metrics, summary, evaluation and samples of each stage."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignkit.errors import UserError
from alignkit.evaluation.statistics import Bin, Interval
from alignkit.measure import Metric
from alignkit.report.records import Answers, Evaluation, RunRecord, StageRecord
from alignkit.run.folder import MANIFEST, StageFolder
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
    if not found:
        raise _no_run(folder, stages)
    ordered = _in_order({stage.name: manifest for stage, manifest in found.items()})
    by_name = {stage.name: _read_stage(stage, manifest) for stage, manifest in found.items()}
    return RunRecord(folder.resolve().name, tuple(by_name[name] for name in ordered))


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
    try:
        metrics = read_metrics(folder.metrics)
    except ValueError as error:
        raise _unreadable(folder.metrics, error) from error
    summary, evaluation = _read_json(folder.summary), _read_json(folder.evaluation)
    return StageRecord(
        folder.name,
        manifest,
        tuple(metrics),
        summary or {},
        _evaluation(folder.evaluation, evaluation) if evaluation else None,
        _read_answers(folder.samples) if evaluation else (),
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _unreadable(path, error) from error


def _evaluation(path: Path, raw: Mapping[str, Any]) -> Evaluation:
    try:
        targets = {
            target: {name: Interval(**_numbers(value)) for name, value in values.items()}
            for target, values in raw["targets"].items()
        }
        calibration = {
            target: tuple(Bin(**part) for part in bins)
            for target, bins in (raw.get("calibration") or {}).items()
        }
        return Evaluation(
            kind=raw["kind"],
            on=raw["on"],
            targets=targets,
            measures={name: Metric(**fields) for name, fields in raw["measures"].items()},
            rewards=tuple(raw.get("rewards") or ()),
            against=raw.get("against"),
            prompts=raw.get("prompts"),
            per_prompt=raw.get("per_prompt"),
            calibration=calibration,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from error


def _numbers(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers with NaN for null: JSON has no NaN for the mean over nothing."""
    return {name: math.nan if number is None else number for name, number in value.items()}


def _read_answers(path: Path) -> tuple[Answers, ...]:
    if not path.is_file():
        return ()
    answers = []
    # splitlines would also cut at the line separators inside a text
    for number, line in enumerate(path.read_text(encoding="utf-8").rstrip("\n").split("\n"), start=1):
        try:
            answers.append(_answers(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unreadable(path, error, number) from error
    return tuple(answers)


def _answers(raw: Mapping[str, Any]) -> Answers:
    completions = {
        target: tuple(_written(text) for text in texts) for target, texts in raw["completions"].items()
    }
    scores = {
        target: {reward: tuple(values) for reward, values in rewards.items()}
        for target, rewards in (raw.get("scores") or {}).items()
    }
    return Answers(_written(raw["prompt"]), completions, scores)


def _written(value: str | list[dict[str, str]]) -> str:
    """Write a text for the page.

    A plain text stays as it is. A conversation becomes its messages, each after its role. Of a single message
    of the assistant only the content is written.
    """
    if isinstance(value, str):
        return value
    if len(value) == 1 and value[0].get("role") == "assistant":
        return value[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in value)


def _unreadable(path: Path, error: Exception, line: int | None = None) -> UserError:
    return UserError(
        f"this file is not as alignkit writes it ({type(error).__name__}: {error})",
        where=f"{path}, line {line}" if line else str(path),
        hint="Run the stage again: move its folder away, then `alignkit run` makes it anew.",
    )
