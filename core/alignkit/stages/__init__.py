"""What the verbs do. Each fills its stage's folder; `run_stage` calls the one that a stage asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignkit import recipe
from alignkit.run.files import write_text
from alignkit.stages.evaluate.work import run_evaluate
from alignkit.stages.label.work import run_label
from alignkit.stages.plan import PlannedStage
from alignkit.stages.sample.work import run_sample
from alignkit.stages.train.work import run_train
from alignkit.stages.workshop import Workshop

RUN = {
    recipe.Train: run_train,
    recipe.Sample: run_sample,
    recipe.Label: run_label,
    recipe.Evaluate: run_evaluate,
}


def run_stage(planned: PlannedStage, shop: Workshop, folder: Path) -> dict[str, Any]:
    """Do a stage in its folder; returns its summary, also written to `summary.json`."""
    summary = RUN[type(planned.stage)](planned, shop, folder)
    write_text(folder / "summary.json", json.dumps(summary, indent=2, sort_keys=True) + "\n")
    return summary


__all__ = ["Workshop", "run_stage"]
