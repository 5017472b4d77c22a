"""Writes a run's report: one HTML page that needs nothing beside it, and its pictures as PNG files."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from alignkit.report.describing import number_label, stage_line, summary_line
from alignkit.report.diagram import HEIGHT, WIDTH, Diagram, lay_out
from alignkit.report.evaluation_pictures import frontier, reliability
from alignkit.report.figures import Look, Picture, looks
from alignkit.report.over_optimization import proxy_and_gold
from alignkit.report.reading import REWARD_MODELS, Evaluation, Run, Stage, read_run
from alignkit.report.tables import Table, make_table
from alignkit.report.training_pictures import curves, series
from alignkit.run.files import write_folder, write_text

PAGE, PICTURES = "report.html", "report"
MOST_PROMPTS = 8
LONGEST_NAME = 13  # characters that fit into a box of the diagram


@dataclass(frozen=True)
class Evaluated:
    """An evaluation as the page shows it."""

    stage: Stage
    evaluation: Evaluation
    table: Table
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Trained:
    """A training stage as the page shows it."""

    stage: Stage
    pace: str
    pictures: tuple[Picture, ...]


def write_report(run: Path) -> Path:
    """Write `run`/report.html and the pictures in `run`/report/; returns the page's path. Raises UserError
    where `run` is no run.
    """
    from matplotlib import rc_context

    found = read_run(run)
    with rc_context({"text.parse_math": False}):  # a name may hold dollar signs
        text, pictures = _make(found)

    def save(folder: Path) -> None:
        for picture in pictures:
            (folder / f"{picture.name}.png").write_bytes(picture.png)

    write_folder(run / PICTURES, save)
    write_text(run / PAGE, text)
    return run / PAGE


def _make(found: Run) -> tuple[str, list[Picture]]:
    """The page's text and its pictures."""
    look = looks(
        [*(stage.name for stage in found.stages if stage.verb == "train"), *_targets(found)],
        undrawn=found.names,
    )
    evaluated = [_evaluated(stage, stage.evaluation, look) for stage in found.stages if stage.evaluation]
    rewards = next((shown.evaluation.rewards for shown in evaluated if shown.evaluation.rewards), ())
    trained = [_trained(stage, look[stage.name], rewards) for stage in found.stages if stage.verb == "train"]
    pictures = [picture for shown in [*evaluated, *trained] for picture in shown.pictures]
    return _render(found, evaluated, trained, look), pictures


def _targets(run: Run) -> list[str]:
    """Everything that was evaluated or gave samples, stage or not."""
    evaluations = [stage.evaluation for stage in run.stages if stage.evaluation]
    measured = [name for evaluation in evaluations for name in [*evaluation.targets, *evaluation.calibration]]
    return [
        *measured,
        *(name for stage in run.stages for answers in stage.answers for name in answers.completions),
    ]


def _evaluated(stage: Stage, evaluation: Evaluation, look: Mapping[str, Look]) -> Evaluated:
    draw = reliability if evaluation.kind == REWARD_MODELS else frontier
    picture = draw(stage.name, evaluation, look)
    return Evaluated(stage, evaluation, make_table(evaluation), (picture,) if picture else ())


def _trained(stage: Stage, look: Look, rewards: tuple[str, ...]) -> Trained:
    pictures = (curves(stage, look), proxy_and_gold(stage, look, rewards))
    return Trained(stage, _pace(stage), tuple(picture for picture in pictures if picture))


def _pace(stage: Stage) -> str:
    """How far the training came, its throughput and its memory, in words."""
    if not stage.metrics:
        return "no step yet"
    speed, memory = (
        series(stage.metrics, "tokens_per_second").values,
        series(stage.metrics, "memory_gb").values,
    )
    parts = [f"{stage.metrics[-1]['step']:.0f} done"]
    parts += [f"median {number_label(median(speed))} tokens per second"] if speed else []
    parts += [f"peak memory {number_label(max(memory))} GB"] if memory else []
    return ", ".join(parts)


def _render(run: Run, evaluated: list[Evaluated], trained: list[Trained], look: Mapping[str, Look]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("alignkit.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": _data_uri, "number": number_label, "box_name": _box_name}
    return environment.get_template("page.html").render(
        run=run,
        written=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        facts=_facts(run),
        diagram=_diagram(run),
        box={"width": WIDTH, "height": HEIGHT},
        stages={stage.name: stage for stage in run.stages},
        stage_line=stage_line,
        summary_line=summary_line,
        evaluated=evaluated,
        trained=trained,
        look=look,
        most_prompts=MOST_PROMPTS,
    )


def _diagram(run: Run) -> Diagram:
    return lay_out({stage.name: [name for name in stage.reads if name in run.names] for stage in run.stages})


def _facts(run: Run) -> dict[str, str]:
    """The model, the seed and the packages; several values where the stages differ."""
    models = [_model(stage.manifest.inputs.get("model") or {}) for stage in run.stages]
    seeds = [str(stage.manifest.inputs.get("seed", "?")) for stage in run.stages]
    packages = dict.fromkeys(name for stage in run.stages for name in stage.manifest.versions)
    versions = [
        f"{name} {_joined([s.manifest.versions.get(name, '') for s in run.stages])}" for name in packages
    ]
    return {"Model": _joined(models), "Seed": _joined(seeds), "Versions": ", ".join(versions)}


def _model(model: Mapping[str, Any]) -> str:
    lora = model.get("lora") or {}
    return (
        f"{model.get('base', '?')}, {model.get('quantization', '?')}, {model.get('dtype', '?')}, LoRA r "
        f"= {lora.get('r', '?')}"
    )


def _joined(values: list[str]) -> str:
    return " / ".join(dict.fromkeys(value for value in values if value))


def _box_name(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
