"""Draws the metrics of a training over its steps, one small panel per metric, all its seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alignkit.evaluation.preferences import LENGTH_ONLY, MEASURES
from alignkit.report.conclusions import of_training
from alignkit.report.figures import INK, Look, Panel, Picture, new_panel, whole_steps
from alignkit.report.panels import panel_names
from alignkit.report.records import StageRecord
from alignkit.report.series import SMOOTHED_FROM, Records, Series, mean_records, series, smoothed
from alignkit.report.vector import render
from alignkit.training.metrics import HELD_OUT, LEARNING_RATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS, MOST_DOTS = 24, 60
"""Panels of a picture, and steps up to which each value is a dot of its own."""


def curves(family: str, stages: Sequence[StageRecord], look: Look) -> tuple[Picture | None, Picture | None]:
    """Draw the metrics of stages that differ only in their seed, with held-out values beside training's.

    Return the metrics to look at and those to fold away; None stands for a picture without a panel.
    """
    shown, folded = panel_names(stages[0])
    return (
        _picture(family, stages, look, shown, of_training(stages, shown)),
        _picture(family, stages, look, folded, ()),
    )


def _picture(
    family: str, stages: Sequence[StageRecord], look: Look, names: list[str], says: tuple[str, ...]
) -> Picture | None:
    if not names:
        return None
    panels = tuple(_panel(family, stages, look, name) for name in names[:MOST_PANELS])
    seeds = f" A thin line is one of {len(stages)} seeds, the thick line their mean." if stages[1:] else ""
    raw = " Pale is what was measured, the line is smoothed." if len(stages[0].metrics) > 1 else ""
    caption = f"{family} by step.{seeds or raw}"
    if len(names) > MOST_PANELS:
        caption += f" {len(names) - MOST_PANELS} further metrics are in the CSV file."
    return Picture(caption, panels, says)


def _panel(family: str, stages: Sequence[StageRecord], look: Look, name: str) -> Panel:
    first, mean = stages[0], mean_records([stage.metrics for stage in stages])
    figure, axes = new_panel(3.25, 2.1, first.title(name))
    if len(stages) == 1:
        _draw_measured(axes, series(mean, name), look)
    for stage in stages if len(stages) > 1 else ():
        line = series(stage.metrics, name)
        axes.plot(line.steps, smoothed(line.values), color=look.color, alpha=0.45, linewidth=0.8)
    _draw(axes, mean, name, look)
    if name in compared_with_length(first, [name]):
        _draw_length_only(axes, mean)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7.5, frameon=False, labelcolor=INK)
    whole_steps(axes)
    if name == LEARNING_RATE:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    return render(figure, f"{family}-{name}")


def compared_with_length(stage: StageRecord, names: Sequence[str]) -> list[str]:
    """Return the metrics that count what “the longer wins” counts: those with its unit."""
    unit = MEASURES[LENGTH_ONLY].unit
    return [name for name in names if stage.metric(name).unit == unit]


def _draw_length_only(panel: Axes, records: Records) -> None:
    """Draw what always preferring the longer completion would get."""
    baseline = series(records, f"{HELD_OUT}{LENGTH_ONLY}").values
    if baseline:
        panel.axhline(baseline[-1], color=INK, linewidth=1, linestyle=":", label="the longer wins")


def _draw_measured(panel: Axes, line: Series, look: Look) -> None:
    """Draw the values as they were measured, pale, where a smoothed line is drawn over them."""
    if len(line.values) < SMOOTHED_FROM:
        return
    if len(line.values) > MOST_DOTS:
        panel.plot(line.steps, line.values, color=look.color, linewidth=0.7, alpha=0.3)
        return
    dots = {"marker": "o", "markersize": 2.2, "markeredgewidth": 0}
    panel.plot(line.steps, line.values, color=look.color, linewidth=0, alpha=0.45, **dots)


def _draw(panel: Axes, records: Records, name: str, look: Look) -> None:
    training, held_out = series(records, name), series(records, HELD_OUT + name)
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


def _dot(line: Series) -> str:
    """Return the marker of a line: a line of one point is seen only with one."""
    return "o" if len(line.values) == 1 else ""
