"""Writes one page that compares runs: their evaluations side by side, and the settings that differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignkit.errors import UserError
from alignkit.report.conclusions import listed
from alignkit.report.csv_files import Sheet, evaluation_sheet
from alignkit.report.evaluation_pictures import frontier, reliability
from alignkit.report.figures import Look, Picture, looks
from alignkit.report.page import make_environment, written_now
from alignkit.report.reading import read_run
from alignkit.report.records import REWARD_MODELS, Evaluation, RunRecord
from alignkit.report.sections import of_seeds
from alignkit.report.tables import Table, make_table
from alignkit.run.files import write_text

MOST_SETTINGS = 200


@dataclass(frozen=True)
class Compared:
    """Evaluations of several runs that have one name, as one. warnings: why they may not be comparable."""

    stage: str
    evaluation: Evaluation
    table: Table
    picture: Picture | None
    sheet: Sheet
    warnings: tuple[str, ...]


def write_comparison(runs: Sequence[Path], to: Path) -> Path:
    """Write the page `to`, which compares runs; return its path.

    Raises UserError where one of them is no run, where two have one name, and where none has an evaluation.
    """
    from matplotlib import rc_context

    records = _named([read_run(run) for run in runs], runs)
    with rc_context({"text.parse_math": False}):
        compared, look = _compare(records)
    page = (
        make_environment()
        .get_template("comparison.html")
        .render(
            runs=list(records),
            compared=compared,
            settings=differing(records),
            look=look,
            written=written_now(),
        )
    )
    write_text(to, page)
    return to


def _named(records: Sequence[RunRecord], places: Sequence[Path]) -> dict[str, RunRecord]:
    """Return the runs by name; runs of one name are told apart by the folder above."""
    names = [record.name for record in records]
    if len(set(names)) < len(names):
        names = [f"{place.resolve().parent.name}/{place.resolve().name}" for place in places]
    if len(set(names)) < len(names):
        raise UserError(
            f"two of these runs are called {next(name for name in names if names.count(name) > 1)}",
            hint="Rename a run's folder, or give each run once.",
        )
    return dict(zip(names, records, strict=True))


def _compare(runs: Mapping[str, RunRecord]) -> tuple[list[Compared], dict[str, Look]]:
    by_stage: dict[tuple[str, str], dict[str, Evaluation]] = {}
    for run, record in runs.items():
        for stage in record.stages:
            if stage.evaluation:
                by_stage.setdefault((stage.name, stage.evaluation.kind), {})[run] = stage.evaluation
    if not by_stage:
        raise UserError(
            "none of these runs has an evaluation, so there is nothing to compare",
            where=", ".join(runs),
            hint="Add an `evaluate` stage to the recipes and run them again.",
        )
    joined = {key: join(found) for key, found in by_stage.items()}
    look = looks(
        name for evaluation in joined.values() for name in [*evaluation.targets, *evaluation.calibration]
    )
    for evaluation in joined.values():
        look |= of_seeds(evaluation, look)
    return [
        _compared(stage, evaluation, by_stage[stage, kind], look)
        for (stage, kind), evaluation in joined.items()
    ], look


def _compared(
    stage: str, evaluation: Evaluation, each: Mapping[str, Evaluation], look: Mapping[str, Look]
) -> Compared:
    draw = reliability if evaluation.kind == REWARD_MODELS else frontier
    return Compared(
        stage,
        evaluation,
        make_table(evaluation),
        draw(stage, evaluation, look),
        evaluation_sheet(stage, evaluation),
        tuple(_differences(each)),
    )


def join(each: Mapping[str, Evaluation]) -> Evaluation:
    """Return one evaluation of the targets of several, each target called RUN/TARGET.

    The target that others are compared with is the first run's.
    """
    first_run, first = next(iter(each.items()))
    return replace(
        first,
        targets={f"{run}/{name}": row for run, one in each.items() for name, row in one.targets.items()},
        measures={name: metric for one in each.values() for name, metric in one.measures.items()},
        rewards=tuple(dict.fromkeys(name for one in each.values() for name in one.rewards)),
        against=first.against and f"{first_run}/{first.against}",
        calibration={
            f"{run}/{name}": bins for run, one in each.items() for name, bins in one.calibration.items()
        },
        each={
            f"{run}/{name}": {f"{run}/{seed}": row for seed, row in rows.items()}
            for run, one in each.items()
            for name, rows in one.each.items()
        },
    )


def _differences(each: Mapping[str, Evaluation]) -> list[str]:
    """Say in what the evaluations themselves differ: then a difference of numbers may come from it."""
    said = []
    if len(each) == 1:
        said.append(f"Only {next(iter(each))} has this evaluation.")
    for what in ("on", "prompts", "per_prompt", "against"):
        found = {run: str(getattr(evaluation, what)) for run, evaluation in each.items()}
        if len(set(found.values())) > 1:
            parts = listed([f"{value} in {run}" for run, value in found.items()])
            said.append(f"The evaluations differ in `{what}`: {parts}.")
    return said


def differing(runs: Mapping[str, RunRecord]) -> list[tuple[str, list[str]]]:
    """Return each setting that is not the same in all runs, with its value in each; “–” where there is none.

    Settings are those of the recipe as planned, or of the manifests where no recipe is kept.
    """
    flat = [_flat("", _settings(record)) for record in runs.values()]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    rows = [(key, [settings.get(key, "–") for settings in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1][:MOST_SETTINGS]


def _settings(record: RunRecord) -> Mapping[str, Any]:
    if record.recipe:
        return {name: value for name, value in record.recipe.planned.items() if name != "name"}
    inputs = {stage.name: stage.manifest.inputs for stage in record.stages}
    first = next(iter(inputs.values()))
    return {
        "seed": first.seed,
        "model": {name: value for name, value in first.model.items() if name != "content"},
        "stages": {name: of_stage.settings for name, of_stage in inputs.items()},
    }


def _flat(path: str, value: Any) -> dict[str, str]:
    """Return a mapping's values as text, each under its whole path."""
    if isinstance(value, Mapping) and value:
        return {
            key: text
            for name, below in value.items()
            for key, text in _flat(f"{path}.{name}" if path else str(name), below).items()
        }
    return {path: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}
