"""Does `evaluate` for reward models: measures them on held-out preferences, side by side."""

from __future__ import annotations

import json
from typing import Any

from alignkit.data.loading import Dataset
from alignkit.evaluation.preferences import (
    MEASURES,
    Assessment,
    assess_reward_model,
    calibration_curve,
    table_row,
)
from alignkit.models.computing import compute_signals, forward_budget
from alignkit.objective import Preferences
from alignkit.run.files import write_text
from alignkit.run.folder import StageFolder
from alignkit.stages.context import RunContext
from alignkit.stages.evaluate.plan import PlannedAssessment
from alignkit.stages.evaluate.table import Table, means_of


def work_on_assessment(stage: PlannedAssessment, context: RunContext, folder: StageFolder) -> dict[str, Any]:
    """Write `evaluation.json`; return the means for the summary."""
    wanted = stage.settings
    dataset = context.data.load(wanted.on, Preferences, wanted.max_length)
    table, curves = Table(), {}
    for row in stage.rows:
        seeds = [_assess(contestant.target.stage, context, dataset) for contestant in row.contestants]
        table.targets[row.name] = table_row(seeds, context.seed)
        curves[row.name] = calibration_curve(seeds)
        if row.seeds > 1:
            table.each[row.name] = {
                contestant.name: table_row([one], context.seed)
                for contestant, one in zip(row.contestants, seeds, strict=True)
            }
    found = {
        "kind": "reward models",
        "on": wanted.on,
        "measures": {name: metric.to_dict() for name, metric in MEASURES.items()},
        **table.to_dict(),
        "calibration": curves,
    }
    write_text(folder.evaluation, json.dumps(found, indent=2) + "\n")
    context.display.table(table.labelled(stage.rows))
    return {"targets": means_of(table.targets)}


def _assess(model: str, context: RunContext, dataset: Dataset) -> Assessment:
    """Score the data's completions by the reward model that the stage `model` trained."""
    with context.base.roles(context.seed) as roles:
        roles.add("reward", trainable=False, start=context.run.start(model))
        scores = compute_signals(roles, dataset.groups, ["reward"], forward_budget())["scores"]
    sizes = [len(group.completions) for group in dataset.groups]
    return assess_reward_model(dataset.groups, [part.tolist() for part in scores.split(sizes)])
