"""Puts together what the page shows of each evaluation and of each training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignkit.report.csv_files import Sheet, evaluation_sheet, metrics_sheet
from alignkit.report.evaluation_pictures import frontier, reliability
from alignkit.report.families import families, family_of
from alignkit.report.figures import Look, Picture, looks
from alignkit.report.over_optimization import proxy_and_gold
from alignkit.report.records import REWARD_MODELS, Evaluation, RunRecord, StageRecord
from alignkit.report.tables import Table, make_table
from alignkit.report.training_pictures import curves


@dataclass(frozen=True)
class Evaluated:
    """An evaluation as the page shows it."""

    stage: StageRecord
    evaluation: Evaluation
    table: Table
    picture: Picture | None
    sheet: Sheet


@dataclass(frozen=True)
class Trained:
    """A training as the page shows it. stages: one for each seed. folded: what is not seen at first."""

    family: str
    stages: tuple[StageRecord, ...]
    pictures: tuple[Picture, ...]
    folded: Picture | None
    sheet: Sheet


@dataclass(frozen=True)
class Sections:
    """All that is drawn of a run, and how each stage and target looks."""

    evaluated: tuple[Evaluated, ...]
    trained: tuple[Trained, ...]
    look: Mapping[str, Look]

    @property
    def pictures(self) -> list[Picture]:
        """Return every picture."""
        of_evaluations = [shown.picture for shown in self.evaluated]
        of_trainings = [picture for shown in self.trained for picture in (*shown.pictures, shown.folded)]
        return [picture for picture in (*of_evaluations, *of_trainings) if picture]

    @property
    def sheets(self) -> list[Sheet]:
        """Return every CSV file."""
        return [shown.sheet for shown in (*self.evaluated, *self.trained)]


class Drawn:
    """Remembers what was drawn, so that a page that is written again draws only what has changed."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Any, Any]] = {}

    def __call__(self, name: str, made_of: Any, draw: Callable[[], Any]) -> Any:
        """Return what was drawn under this name of the same things, else draw it."""
        if name not in self.kept or self.kept[name][0] != made_of:
            self.kept[name] = (made_of, draw())
        return self.kept[name][1]


def make_sections(run: RunRecord, drawn: Drawn) -> Sections:
    """Draw a run. Stages that differ only in their seed are one training."""
    trainings = families(stage.name for stage in run.stages if stage.verb == "train")
    undrawn = [*run.names, *map(family_of, run.names)]
    look = looks([*trainings, *_targets(run)], undrawn=undrawn)
    evaluations = [(stage, stage.evaluation) for stage in run.stages if stage.evaluation]
    look |= {name: look[family_of(name)] for name in run.names}
    look |= {name: seed for _, evaluation in evaluations for name, seed in of_seeds(evaluation, look).items()}
    by_name = {stage.name: stage for stage in run.stages}
    rewards = next((found.rewards for _, found in evaluations if found.rewards), ())

    def evaluated(stage: StageRecord, evaluation: Evaluation) -> Evaluated:
        return drawn(f"evaluate {stage.name}", (stage, look), lambda: _evaluated(stage, evaluation, look))

    def trained(family: str, stages: tuple[StageRecord, ...]) -> Trained:
        made_of = (stages, look[family], rewards)
        return drawn(f"train {family}", made_of, lambda: _trained(family, stages, look[family], rewards))

    return Sections(
        tuple(evaluated(stage, evaluation) for stage, evaluation in evaluations),
        tuple(trained(family, tuple(by_name[n] for n in names)) for family, names in trainings.items()),
        look,
    )


def of_seeds(evaluation: Evaluation, look: Mapping[str, Look]) -> dict[str, Look]:
    """Return how each seed of an evaluation's targets looks: as its target does."""
    return {seed: look[target] for target, seeds in evaluation.each.items() for seed in seeds}


def _targets(run: RunRecord) -> list[str]:
    """Return all that was evaluated, whether it is a stage or not."""
    evaluations = [stage.evaluation for stage in run.stages if stage.evaluation]
    measured = [name for evaluation in evaluations for name in [*evaluation.targets, *evaluation.calibration]]
    return list(dict.fromkeys(measured))


def _evaluated(stage: StageRecord, evaluation: Evaluation, look: Mapping[str, Look]) -> Evaluated:
    draw = reliability if evaluation.kind == REWARD_MODELS else frontier
    picture = draw(stage.name, evaluation, look)
    return Evaluated(
        stage, evaluation, make_table(evaluation), picture, evaluation_sheet(stage.name, evaluation)
    )


def _trained(family: str, stages: tuple[StageRecord, ...], look: Look, rewards: Sequence[str]) -> Trained:
    shown, folded = curves(family, stages, look)
    pictures = (shown, proxy_and_gold(family, stages, look, rewards))
    kept = tuple(picture for picture in pictures if picture)
    return Trained(family, stages, kept, folded, metrics_sheet(family, stages))
