"""Draws the metrics of a training stage over its steps, one small panel per metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alignkit.evaluation.preferences import LENGTH_ONLY, MEASURES
from alignkit.report.figures import INK, Look, Picture, new_figure, render, whole_steps
from alignkit.report.panels import panel_names
from alignkit.report.records import StageRecord
from alignkit.report.series import SMOOTHED_FROM, Records, Series, series, smoothed
from alignkit.training.metrics import HELD_OUT, LEARNING_RATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS, ACROSS = 15, 3


def curves(stage: StageRecord, look: Look) -> Picture | None:
    """Draw the stage's metrics, with held-out values beside those of training; None before the first step."""
    known = panel_names(stage)
    names = known[:MOST_PANELS]
    if not names:
        return None
    figure, axes = new_figure(len(names), across=ACROSS, width=3.3, height=2.2)
    for panel, name in zip(axes, names, strict=True):
        _draw(panel, stage.metrics, name, look)
        panel.set_title(stage.title(name), fontsize=9, color=INK, loc="left")
        whole_steps(panel)
        if name == LEARNING_RATE:
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    for panel in axes[-ACROSS:]:
        panel.set_xlabel("step")
    _draw_length_only(stage, dict(zip(names, axes, strict=True)))
    caption = f"Training of {stage.name}, by step."
    if len(known) > MOST_PANELS:
        caption += f" {len(known) - MOST_PANELS} further metrics are in metrics.jsonl."
    return render(figure, f"{stage.name}-training", caption)


def compared_with_length(stage: StageRecord, names: Sequence[str]) -> list[str]:
    """Return the metrics that count what “the longer wins” counts: those with its unit."""
    unit = MEASURES[LENGTH_ONLY].unit
    return [name for name in names if stage.metric(name).unit == unit]


def _draw_length_only(stage: StageRecord, panels: dict[str, Axes]) -> None:
    """Draw what always preferring the longer completion would get, in the panels that count the same."""
    baseline = series(stage.metrics, f"{HELD_OUT}{LENGTH_ONLY}").values
    if not baseline:
        return
    for name in compared_with_length(stage, list(panels)):
        panels[name].axhline(baseline[-1], color=INK, linewidth=1, linestyle=":", label="the longer wins")
        panels[name].legend(fontsize=7.5, frameon=False)


def _draw(panel: Axes, records: Records, name: str, look: Look) -> None:
    training, held_out = series(records, name), series(records, HELD_OUT + name)
    if len(training.values) >= SMOOTHED_FROM:
        panel.plot(training.steps, training.values, color=look.color, alpha=0.25, linewidth=0.8)
    if training.values:
        panel.plot(
            training.steps,
            smoothed(training.values),
            color=look.color,
            linewidth=1.6,
            label="training" if held_out.values else None,
            marker=_dot(training),
        )
    if held_out.values:
        panel.plot(
            held_out.steps, held_out.values, "o--", color=INK, linewidth=1, markersize=3.5, label="held out"
        )
        panel.legend(fontsize=7.5, frameon=False)


def _dot(line: Series) -> str:
    """Return the marker of a line: a line of one point is seen only with one."""
    return "o" if len(line.values) == 1 else ""
