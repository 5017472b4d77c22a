"""Does `label`: ranks completions by a reward, with or without the noise of a human choice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from alignkit.data.checking import Completions, select
from alignkit.data.loading import Dataset
from alignkit.errors import UserError
from alignkit.models.computing import forward_budget
from alignkit.models.roles import Roles
from alignkit.progress import counting
from alignkit.reward import Engine
from alignkit.rewards.engine import make_engines
from alignkit.rewards.models import RewardModels
from alignkit.rewards.scoring import Scorer, Scores
from alignkit.run.files import write_text
from alignkit.run.folder import StageFolder
from alignkit.sampling.lookup import make_sampler
from alignkit.stages.context import RunContext
from alignkit.stages.label.plan import SAMPLER, PlannedLabel
from alignkit.stages.label.ranking import rank
from alignkit.stages.rows import as_row


def work_on_label(stage: PlannedLabel, context: RunContext, folder: StageFolder) -> dict[str, Any]:
    """Write `ranked.jsonl`: the completions with their rewards, and ranked by them."""
    dataset = context.data.load(stage.settings.label, Completions, stage.settings.max_length)
    scores = _score(stage, context, dataset)
    generator = np.random.default_rng(context.seed)
    rows, kept = [], []
    for example, totals in zip(dataset.examples, scores.total, strict=True):
        scored = [place for place, total in enumerate(totals) if total is not None]
        values = [total for total in totals if total is not None]
        if scored:
            ranks = rank(values, stage.settings.noise, generator)
            rows.append(as_row(select(example, scored), ranks=ranks, rewards=values))
            kept += values
    if not rows:
        raise UserError(
            "the reward abstained from every completion",
            where=f"stages.{stage.name}",
            hint="Check the reward, and the columns that it reads.",
        )
    lines = [json.dumps(row, ensure_ascii=False, default=str) for row in rows]
    write_text(folder.ranked, "".join(f"{line}\n" for line in lines))
    summary = {
        "prompts": len(rows),
        "completions": len(kept),
        "dropped": sum(reason.count for reason in dataset.report.dropped.values()),
        "abstained": sum(len(totals) for totals in scores.total) - len(kept),
        "empty": dataset.report.blank,
        "mean_reward": float(np.mean(kept)),
    }
    context.display.note(_told(summary, stage))
    return summary


def _score(stage: PlannedLabel, context: RunContext, dataset: Dataset) -> Scores:
    """Score the completions; the base is loaded only where a reward is a model or uses a role."""
    progress = partial(counting, context.display)
    if not stage.uses_roles and not any(reward.is_model for reward in stage.rewards):
        return Scorer(stage.rewards, progress=progress)(dataset.examples, dataset.groups)
    with context.base.roles(context.seed) as roles:
        models = RewardModels(roles, context.run, forward_budget())
        engines = _engines(stage, context, roles) if stage.uses_roles else {}
        scorer = Scorer(stage.rewards, models=models, engines=engines, progress=progress)
        return scorer(dataset.examples, dataset.groups)


def _engines(stage: PlannedLabel, context: RunContext, roles: Roles) -> Mapping[str, Engine]:
    """Return the engine of each reward that uses one."""
    sampler = make_sampler(context.registry, SAMPLER, roles)
    return make_engines(
        stage.rewards,
        roles,
        context.run,
        sampler,
        seed=context.seed,
        budget=forward_budget(),
        progress=partial(counting, context.display),
    )


def _told(summary: dict[str, Any], stage: PlannedLabel) -> str:
    """Say what was ranked, and what was left out."""
    names = " + ".join(reward.name for reward in stage.rewards)
    text = (
        f"{summary['completions']} completions of {summary['prompts']} prompts ranked by {names}, "
        f"mean {summary['mean_reward']:.3f}"
    )
    dropped, empty, abstained = summary["dropped"], summary["empty"], summary["abstained"]
    if dropped or empty or abstained:
        text += f"; left out: {dropped} bad rows, {empty} empty, {abstained} without a score"
    return text
