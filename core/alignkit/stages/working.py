"""Does a planned stage: calls the work of its verb, and keeps the summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from alignkit.run.files import write_text
from alignkit.run.folder import StageFolder
from alignkit.stages.context import RunContext
from alignkit.stages.evaluate.plan import PlannedAssessment, PlannedEvaluation
from alignkit.stages.evaluate.policies import work_on_evaluation
from alignkit.stages.evaluate.reward_models import work_on_assessment
from alignkit.stages.label.plan import PlannedLabel
from alignkit.stages.label.work import work_on_label
from alignkit.stages.planned import PlannedStage
from alignkit.stages.sample.plan import PlannedSample
from alignkit.stages.sample.work import work_on_sample
from alignkit.stages.train.plan import PlannedTrain
from alignkit.stages.train.work import work_on_train

WORK: Mapping[type[PlannedStage[Any]], Callable[..., dict[str, Any]]] = {
    PlannedTrain: work_on_train,
    PlannedSample: work_on_sample,
    PlannedLabel: work_on_label,
    PlannedEvaluation: work_on_evaluation,
    PlannedAssessment: work_on_assessment,
}


def work_on(stage: PlannedStage[Any], context: RunContext, folder: StageFolder) -> dict[str, Any]:
    """Do the stage in its folder; return its summary, which `summary.json` keeps too."""
    summary = WORK[type(stage)](stage, context, folder)
    write_text(folder.summary, json.dumps(summary, indent=2, sort_keys=True) + "\n")
    return summary
