"""Writes a run's report: one HTML page that needs no other file, and its pictures as PNG files."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from alignkit.report.describing import facts, number_label, pace, summary_line
from alignkit.report.diagram import HEIGHT, WIDTH, Diagram, lay_out
from alignkit.report.evaluation_pictures import frontier, reliability
from alignkit.report.figures import Look, Picture, looks
from alignkit.report.over_optimization import proxy_and_gold
from alignkit.report.reading import read_run
from alignkit.report.records import REWARD_MODELS, Evaluation, RunRecord, StageRecord
from alignkit.report.tables import Table, make_table
from alignkit.report.training_pictures import curves
from alignkit.run.files import write_folder, write_text
from alignkit.run.folder import RunFolder

MOST_PROMPTS = 8
LONGEST_NAME = 13
"""Characters that fit into a box of the diagram."""


@dataclass(frozen=True)
class Evaluated:
    """An evaluation as the page shows it."""

    stage: StageRecord
    evaluation: Evaluation
    table: Table
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Trained:
    """A training stage as the page shows it."""

    stage: StageRecord
    pace: str
    pictures: tuple[Picture, ...]


def write_report(run: Path) -> Path:
    """Write the page `run`/report.html and the pictures in `run`/report/; return the page's path.

    Raises UserError where `run` is not a run.
    """
    from matplotlib import rc_context

    found, folder = read_run(run), RunFolder(run)
    with rc_context({"text.parse_math": False}):  # a name may hold dollar signs
        text, pictures = _make(found)

    def save(place: Path) -> None:
        for picture in pictures:
            (place / f"{picture.name}.png").write_bytes(picture.png)

    write_folder(folder.report_pictures, save)
    write_text(folder.report_page, text)
    return folder.report_page


def _make(run: RunRecord) -> tuple[str, list[Picture]]:
    """Return the page's text and its pictures."""
    trainings = [stage for stage in run.stages if stage.verb == "train"]
    look = looks([*(stage.name for stage in trainings), *_targets(run)], undrawn=run.names)
    evaluated = [_evaluated(stage, stage.evaluation, look) for stage in run.stages if stage.evaluation]
    rewards = next((shown.evaluation.rewards for shown in evaluated if shown.evaluation.rewards), ())
    trained = [_trained(stage, look[stage.name], rewards) for stage in trainings]
    pictures = [picture for shown in [*evaluated, *trained] for picture in shown.pictures]
    return _render(run, evaluated, trained, look), pictures


def _targets(run: RunRecord) -> list[str]:
    """Return all that was evaluated or gave samples, whether it is a stage or not."""
    evaluations = [stage.evaluation for stage in run.stages if stage.evaluation]
    measured = [name for evaluation in evaluations for name in [*evaluation.targets, *evaluation.calibration]]
    answers = [answers for stage in run.stages for answers in stage.answers]
    return [*measured, *(name for one in answers for name in one.completions)]


def _evaluated(stage: StageRecord, evaluation: Evaluation, look: Mapping[str, Look]) -> Evaluated:
    draw = reliability if evaluation.kind == REWARD_MODELS else frontier
    picture = draw(stage.name, evaluation, look)
    return Evaluated(stage, evaluation, make_table(evaluation), (picture,) if picture else ())


def _trained(stage: StageRecord, look: Look, rewards: tuple[str, ...]) -> Trained:
    pictures = (curves(stage, look), proxy_and_gold(stage, look, rewards))
    return Trained(stage, pace(stage), tuple(picture for picture in pictures if picture))


def _render(
    run: RunRecord, evaluated: list[Evaluated], trained: list[Trained], look: Mapping[str, Look]
) -> str:
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
        facts=facts(run),
        diagram=_diagram(run),
        box={"width": WIDTH, "height": HEIGHT},
        stages={stage.name: stage for stage in run.stages},
        summary_line=summary_line,
        evaluated=evaluated,
        trained=trained,
        look=look,
        most_prompts=MOST_PROMPTS,
    )


def _diagram(run: RunRecord) -> Diagram:
    return lay_out({stage.name: [name for name in stage.reads if name in run.names] for stage in run.stages})


def _box_name(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
