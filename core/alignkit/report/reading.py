"""A run's folder as values: each stage's manifest, metrics, summary, evaluation and samples."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignkit.errors import UserError
from alignkit.evaluation.statistics import Bin, Interval
from alignkit.run.manifest import Manifest, read_manifest
from alignkit.run.metrics import read_metrics

EVALUATION, SAMPLES, SUMMARY, METRICS = "evaluation.json", "samples.jsonl", "summary.json", "metrics.jsonl"
POLICIES, REWARD_MODELS = "policies", "reward models"


@dataclass(frozen=True)
class Evaluation:
    """Measures of each target (a stage, or `base`) with their intervals. `rewards` are the measures to
    maximise, the gold one first.
    """

    kind: str
    on: str
    targets: Mapping[str, Mapping[str, Interval]]
    rewards: tuple[str, ...] = ()
    against: str | None = None
    prompts: int | None = None
    per_prompt: int | None = None
    calibration: Mapping[str, tuple[Bin, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """One prompt with each target's completions and, by reward, their scores."""

    prompt: str
    completions: Mapping[str, tuple[str, ...]]
    scores: Mapping[str, Mapping[str, tuple[float | None, ...]]]


@dataclass(frozen=True)
class Stage:
    """One stage. `reads` are the stages and data it needed, `metrics` a record a step."""

    name: str
    manifest: Manifest
    metrics: tuple[Mapping[str, float], ...]
    summary: Mapping[str, Any]
    evaluation: Evaluation | None
    answers: tuple[Answers, ...]

    @property
    def verb(self) -> str:
        """train, sample, label or evaluate."""
        return str(self.manifest.inputs.get("stage", "unknown"))

    @property
    def done(self) -> bool:
        """Whether the stage is finished."""
        return self.manifest.done

    @property
    def settings(self) -> Mapping[str, Any]:
        """The stage's settings, as the manifest keeps them."""
        return self.manifest.inputs.get("settings") or {}

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the stages and data that the stage needed."""
        return tuple(self.manifest.inputs.get("reads") or {})


@dataclass(frozen=True)
class Run:
    """A run: its stages, each after those it reads."""

    name: str
    stages: tuple[Stage, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The stages' names."""
        return tuple(stage.name for stage in self.stages)


def read_run(folder: Path) -> Run:
    """Read a run's folder. Raises UserError where it is none, or where a file of it cannot be read."""
    if not folder.is_dir():
        raise UserError(
            "there is no such folder",
            where=str(folder),
            hint="Give a run: the folder that `alignkit run` printed, runs/NAME.",
        )
    if read_manifest(folder) is not None:
        raise UserError(
            "this is one stage of a run",
            where=str(folder),
            hint=f"Give the run itself: {folder.resolve().parent}",
        )
    manifests = {place.name: read_manifest(place) for place in sorted(folder.iterdir()) if place.is_dir()}
    found = {name: manifest for name, manifest in manifests.items() if manifest is not None}
    if not found:
        inside = ", ".join(sorted(place.name for place in folder.iterdir())[:8]) or "nothing"
        raise UserError(
            f"no run is here: none of its folders has a manifest.json; found {inside}",
            where=str(folder),
            hint="Give a run: the folder that `alignkit run` printed, runs/NAME, with a folder for each "
            "stage.",
        )
    return Run(
        folder.resolve().name, tuple(_read_stage(folder / name, found[name]) for name in _in_order(found))
    )


def _in_order(manifests: Mapping[str, Manifest]) -> list[str]:
    """The names, each after those it reads. Folders that an earlier recipe left may read each other in a
    circle: cut at the first name.
    """
    waiting, ordered = dict(sorted(manifests.items())), []
    while waiting:
        ready = [
            name
            for name, manifest in waiting.items()
            if not (set(manifest.inputs.get("reads") or {}) - {name}) & set(waiting)
        ]
        name = next(iter(ready or waiting))
        ordered.append(name)
        del waiting[name]
    return ordered


def _read_stage(folder: Path, manifest: Manifest) -> Stage:
    try:
        metrics = read_metrics(folder / METRICS)
    except ValueError as error:
        raise _unreadable(folder / METRICS, error) from error
    evaluation = _read_json(folder / EVALUATION)
    return Stage(
        folder.name,
        manifest,
        tuple(metrics),
        _read_json(folder / SUMMARY) or {},
        _evaluation(folder / EVALUATION, evaluation) if evaluation else None,
        _read_answers(folder / SAMPLES) if evaluation else (),
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
            name: {measure: Interval(**_numbers(value)) for measure, value in measures.items()}
            for name, measures in raw["targets"].items()
        }
        calibration = {
            name: tuple(Bin(**part) for part in bins) for name, bins in (raw.get("calibration") or {}).items()
        }
        return Evaluation(
            raw["kind"],
            raw["on"],
            targets,
            tuple(raw.get("rewards") or ()),
            raw.get("against"),
            raw.get("prompts"),
            raw.get("per_prompt"),
            calibration,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from error


def _numbers(value: Mapping[str, Any]) -> dict[str, Any]:
    """null is how JSON writes the NaN of a mean over nothing."""
    return {name: math.nan if number is None else number for name, number in value.items()}


def _read_answers(path: Path) -> tuple[Answers, ...]:
    if not path.is_file():
        return ()
    answers = []
    for number, line in enumerate(path.read_text(encoding="utf-8").rstrip("\n").split("\n"), start=1):
        try:
            raw = json.loads(line)
            completions = {
                name: tuple(_text(text) for text in texts) for name, texts in raw["completions"].items()
            }
            scores = {
                name: {reward: tuple(values) for reward, values in rewards.items()}
                for name, rewards in (raw.get("scores") or {}).items()
            }
            answers.append(Answers(_text(raw["prompt"]), completions, scores))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unreadable(path, error, number) from error
    return tuple(answers)


def _text(value: str | list[dict[str, str]]) -> str:
    """A plain text as it is; a conversation as its messages, each after its role; a lone answer of the
    assistant as its content.
    """
    if isinstance(value, str):
        return value
    if len(value) == 1 and value[0].get("role") == "assistant":
        return value[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in value)


def _unreadable(path: Path, error: Exception, line: int | None = None) -> UserError:
    where = f"{path}, line {line}" if line else str(path)
    hint = "Run the stage again: move its folder away, then `alignkit run` makes it anew."
    return UserError(
        f"this file is not as alignkit writes it ({type(error).__name__}: {error})", where=where, hint=hint
    )
