"""Draws the reward that a stage was trained for beside one that was only watched.

Where the first rises and the second falls, the policy exploits the reward (over-optimization, Gao et al.,
2022, arXiv:2210.10760).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from alignkit.report.conclusions import of_two_rewards
from alignkit.report.figures import INK, PALE, Look, Picture, new_panel, style, whole_steps
from alignkit.report.records import StageRecord
from alignkit.report.series import Records, has, mean_records, series, smoothed
from alignkit.report.vector import render
from alignkit.training.metrics import OPTIMIZED_REWARD, REWARDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def sampled(stage: StageRecord) -> Records:
    """Return the stage's metrics with those of the objective that samples under their plain names.

    The optimized reward is returned as it is, not standardized: the sum of standardized rewards has mean 0 in
    every batch, so the weighted sum of the rewards themselves takes its place. Empty means that no objective
    samples.
    """
    prefix = _prefix(stage)
    if prefix is None:
        return ()
    records = [
        {name.removeprefix(prefix): value for name, value in record.items()} for record in stage.metrics
    ]
    parts = stage.rewards_in("reward")
    if not any(part.get("standardize") for part in parts.values()):
        return records
    weights = {f"{REWARDS}{name}": part.get("weight", 1) for name, part in parts.items()}
    return [_as_it_is(record, weights) for record in records]


def _prefix(stage: StageRecord) -> str | None:
    """Return what stands before the metrics of the objective that samples; None where no objective does."""
    split = (stage.split(name) for record in stage.metrics for name in record)
    return next((prefix for prefix, bare in split if bare == OPTIMIZED_REWARD), None)


def _as_it_is(record: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Return a record with the weighted sum of its rewards as the optimized reward.

    The record has no optimized reward where one of the rewards is missing.
    """
    others = {name: value for name, value in record.items() if name != OPTIMIZED_REWARD}
    if not all(has(record, name) for name in weights):
        return others
    return {**others, OPTIMIZED_REWARD: sum(weight * record[name] for name, weight in weights.items())}


def gold_name(stage: StageRecord, rewards: Sequence[str]) -> str | None:
    """Return the watched reward to hold against the optimized reward; None where none was watched.

    It is the first of `rewards`, the order of an evaluation, else the first of the recipe.
    """
    records = sampled(stage)
    watched = [name for name in stage.rewards_in("watch") if series(records, f"{REWARDS}{name}").values]
    return next((name for name in [*rewards, *watched] if name in watched), None)


def divergence(stage: StageRecord) -> dict[str, str]:
    """Return the first divergence that was measured on the samples, with its label; empty means none."""
    prefix, records = _prefix(stage) or "", sampled(stage)
    for name, metric in stage.manifest.metrics.items():
        bare = name.removeprefix(prefix)
        if metric.divergence and name.startswith(prefix) and series(records, bare).values:
            return {bare: str(metric)}
    return {}


def proxy_and_gold(
    family: str, stages: Sequence[StageRecord], look: Look, rewards: Sequence[str]
) -> Picture | None:
    """Draw the optimized reward and a watched reward against the step and, where measured, the divergence.

    stages: those of all seeds, whose mean is drawn. rewards: see `gold_name`; None where there is no watched
    reward.
    """
    gold, records = gold_name(stages[0], rewards), mean_records([sampled(stage) for stage in stages])
    if gold is None:
        return None
    panels = []
    for x, label in {"step": "step", **divergence(stages[0])}.items():
        figure, panel = new_panel(4.6, 2.9)
        _draw_both(panel, records, x, gold, look.color)
        panel.set_xlabel(label)
        if x == "step":
            whole_steps(panel)
        panels.append(render(figure, f"{family}-over-optimization-{'step' if x == 'step' else 'divergence'}"))
    seeds = f", mean of {len(stages)} seeds" if len(stages) > 1 else ""
    caption = (
        f"Over-optimization: the reward that {family} optimizes (left axis) and {gold} (right axis, "
        f"dashed) on its rollouts{seeds}. "
        "Where the first goes on rising and the second falls, the policy exploits the reward."
    )
    both = (series(records, OPTIMIZED_REWARD).values, series(records, f"{REWARDS}{gold}").values)
    return Picture(caption, tuple(panels), of_two_rewards(gold, *both))


def _draw_both(panel: Axes, records: Records, x: str, gold: str, color: str) -> None:
    """Draw the optimized reward on the left axis and the watched one on the right."""
    other = panel.twinx()
    style(other)
    other.grid(False)
    other.spines["right"].set(visible=True, color=PALE)
    _draw(panel, records, x, OPTIMIZED_REWARD, color, dashed=False)
    panel.set_ylabel("optimized reward", color=color)
    _draw(other, records, x, f"{REWARDS}{gold}", INK, dashed=True)
    other.set_ylabel(f"{gold} (gold)", color=INK)


def _draw(panel: Axes, records: Records, x: str, y: str, color: str, *, dashed: bool) -> None:
    """Draw a reward over the steps as a line, or over the divergence as the smoothed path of the training."""
    kept = [record for record in records if has(record, x) and has(record, y)]
    xs, ys = [float(record[x]) for record in kept], [float(record[y]) for record in kept]
    if x == "step":
        panel.plot(xs, ys, color=color, alpha=0.2, linewidth=0.8)
    else:
        panel.plot(xs, ys, "s" if dashed else "o", color=color, alpha=0.25, markersize=2.5, markeredgewidth=0)
        xs = smoothed(xs)
    panel.plot(
        xs,
        smoothed(ys),
        color=color,
        linewidth=1.7,
        linestyle="--" if dashed else "-",
        marker="o" if len(xs) == 1 else "",
    )
