"""Holds what the stages of a run share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from alignkit.models.shared import SharedBase
from alignkit.progress import Display, counting
from alignkit.registry import Registry
from alignkit.run.folder import RunFolder
from alignkit.stages.data import StageData
from alignkit.stages.plan import Plan


@dataclass(frozen=True)
class RunContext:
    """The parts that every stage of a run may use. seed: the recipe's, or the stage's own while it works."""

    run: RunFolder
    registry: Registry
    base: SharedBase
    data: StageData
    display: Display
    seed: int


def make_context(
    plan: Plan, registry: Registry, run: RunFolder, display: Display, device: torch.device
) -> RunContext:
    """Make the parts of a run. Nothing is loaded before a stage needs it."""
    progress = partial(counting, display)
    base = SharedBase(plan.recipe.model, registry, device, display.note, progress)
    data = StageData(plan.data, run, base, registry.formats.items, display.note, progress)
    return RunContext(run, registry, base, data, display, plan.recipe.seed)
