"""Does `evaluate` for reward models: measures them on held-out preferences, side by side."""

from __future__ import annotations

import json
from typing import Any

from alignkit.evaluation.preferences import MEASURES, assess_reward_model
from alignkit.models.computing import compute_signals, forward_budget
from alignkit.objective import Preferences
from alignkit.progress import counting
from alignkit.run.files import write_text
from alignkit.run.folder import StageFolder
from alignkit.stages.context import RunContext
from alignkit.stages.evaluate.plan import PlannedAssessment
from alignkit.stages.evaluate.table import means_of


def work_on_assessment(stage: PlannedAssessment, context: RunContext, folder: StageFolder) -> dict[str, Any]:
    """Write `evaluation.json`; return the means for the summary."""
    wanted = stage.settings
    dataset = context.data.load(wanted.on, Preferences, wanted.max_length)
    sizes = [len(group.completions) for group in dataset.groups]
    targets, curves = {}, {}
    for target in wanted.evaluate:
        with context.base.roles(context.seed) as roles:
            roles.add("reward", trainable=False, start=context.run.start(target.stage))
            progress = counting(context.display, f"scoring by {target.name}")
            found = compute_signals(roles, dataset.groups, ["reward"], forward_budget(), progress=progress)
            scores = found["scores"]
        of_groups = [part.tolist() for part in scores.split(sizes)]
        targets[target.name], curves[target.name] = assess_reward_model(
            dataset.groups, of_groups, context.seed
        )
    found = {
        "kind": "reward models",
        "on": wanted.on,
        "measures": {name: metric.to_dict() for name, metric in MEASURES.items()},
        "targets": targets,
        "calibration": curves,
    }
    write_text(folder.evaluation, json.dumps(found, indent=2) + "\n")
    context.display.table(targets)
    return {"targets": means_of(targets)}
