"""Does `evaluate` for reward models: measures them on held-out preferences, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from alignkit.data.loading import Dataset
from alignkit.evaluation.preferences import (
    MEASURES,
    Assessment,
    assess_reward_model,
    calibration_curve,
    table_row,
)
from alignkit.evaluation.served import served_scores
from alignkit.example import Group
from alignkit.models.computing import compute_signals, forward_budget
from alignkit.models.export import DTYPE
from alignkit.objective import Preferences
from alignkit.progress import Progress, counting
from alignkit.run.files import write_text
from alignkit.run.folder import StageFolder
from alignkit.stages.context import RunContext
from alignkit.stages.evaluate.plan import PlannedAssessment
from alignkit.stages.evaluate.rows import Contestant
from alignkit.stages.evaluate.served import MERGED, ServedModels
from alignkit.stages.evaluate.table import Table, means_of
from alignkit.stages.quantization_cost import tell_quantization_cost


def work_on_assessment(stage: PlannedAssessment, context: RunContext, folder: StageFolder) -> dict[str, Any]:
    """Write `evaluation.json`; return the means for the summary."""
    wanted = stage.settings
    dataset = context.data.load(wanted.on, Preferences, wanted.max_length)
    tell_quantization_cost(context, folder, dataset.groups)
    table, curves = Table(), {}
    served = ServedModels(context, folder) if wanted.as_ == MERGED else None
    for row in stage.rows:
        seeds = [_assess(contestant, context, dataset, served) for contestant in row.contestants]
        table.targets[row.name] = table_row(seeds, context.seed)
        curves[row.name] = calibration_curve(seeds)
        if row.seeds > 1:
            table.each[row.name] = {
                contestant.name: table_row([one], context.seed)
                for contestant, one in zip(row.contestants, seeds, strict=True)
            }
    if served is not None:
        served.close()
    found = {
        "kind": "reward models",
        "as": wanted.as_,
        "on": wanted.on,
        "measures": {name: metric.to_dict() for name, metric in MEASURES.items()},
        **table.to_dict(),
        "calibration": curves,
    }
    write_text(folder.evaluation, json.dumps(found, indent=2) + "\n")
    context.display.table(table.labelled(stage.rows))
    return {"targets": means_of(table.targets)}


def _assess(
    contestant: Contestant, context: RunContext, dataset: Dataset, served: ServedModels | None
) -> Assessment:
    """Compare a reward model's scores of the data's completions with the data's ranks."""
    progress = counting(context.display, f"scoring by {contestant.name}")
    scores = _scores(contestant.target.stage, dataset.groups, context, served, progress)
    sizes = [len(group.completions) for group in dataset.groups]
    return assess_reward_model(dataset.groups, [part.tolist() for part in scores.split(sizes)])


def _scores(
    stage: str,
    groups: Sequence[Group],
    context: RunContext,
    served: ServedModels | None,
    progress: Progress,
) -> torch.Tensor:
    """Return a reward model's score of each completion, (N,): as trained, or as it is served."""
    if served is not None:
        return torch.stack(served_scores(served.place(stage), groups, getattr(torch, DTYPE)))
    with context.base.roles(context.seed) as roles:
        roles.add("reward", trainable=False, start=context.run.start(stage))
        return compute_signals(roles, groups, ["reward"], forward_budget(), progress=progress)["scores"]
