"""Draws an evaluation: rewards against the divergence, and the reliability of reward models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from alignkit.evaluation.statistics import Bin, Interval, calibration_error
from alignkit.report.conclusions import of_frontier, of_reliability
from alignkit.report.figures import CARD, PALE, Look, Panel, Picture, new_panel
from alignkit.report.labels import Cross, label_points
from alignkit.report.numerals import number_label
from alignkit.report.records import Evaluation
from alignkit.report.vector import render

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def frontier(stage: str, evaluation: Evaluation, look: Mapping[str, Look]) -> Picture | None:
    """Draw each reward against the divergence from the reference, with one point per target.

    None means that no target has both.
    """
    divergence = evaluation.divergence
    if divergence is None:
        return None
    panels = []
    for reward in evaluation.rewards:
        crosses = _crosses(evaluation.targets, divergence, reward)
        if crosses:
            seeds = {
                target: _crosses(rows, divergence, reward).values()
                for target, rows in evaluation.each.items()
            }
            axes = (divergence, reward)
            panels.append(_frontier(stage, evaluation, axes, crosses, seeds, look))
    if not panels:
        return None
    seeds = " Small pale points are single seeds, their mean is the large one." if evaluation.each else ""
    caption = (
        "Reward against the distance from the reference. Higher is better, further left is closer to the "
        f"reference. Bars are 95 % intervals.{seeds}"
    )
    return Picture(caption, tuple(panels), of_frontier(evaluation))


def _frontier(
    stage: str,
    evaluation: Evaluation,
    axes: tuple[str, str],
    crosses: Mapping[str, Cross],
    seeds: Mapping[str, Iterable[Cross]],
    look: Mapping[str, Look],
) -> Panel:
    """Draw the targets' crosses, and each seed as a small pale point."""
    across, up = axes
    figure, panel = new_panel(4.6, 3.4)
    for target, points in seeds.items():
        pale = {"color": look[target].color, "alpha": 0.45, "markersize": 5, "markeredgewidth": 0}
        for point in points:
            panel.plot(point.x, point.y, look[target].marker, **pale)
    for name, point in crosses.items():
        _draw_cross(panel, point, look[name])
    panel.set_xlabel(str(evaluation.metric(across)))
    panel.set_ylabel(str(evaluation.metric(up)))
    panel.margins(0.18, 0.16)
    label_points(panel, crosses)  # last, when nothing moves any more
    return render(figure, f"{stage}-frontier-{up}")


def _crosses(rows: Mapping[str, Mapping[str, Interval]], across: str, up: str) -> dict[str, Cross]:
    """Return the points of the rows that have a finite mean of both measures."""
    both = {
        target: (values[across], values[up])
        for target, values in rows.items()
        if across in values and up in values
    }
    return {
        target: Cross(x.mean, y.mean, x.low, x.high, y.low, y.high)
        for target, (x, y) in both.items()
        if math.isfinite(x.mean + y.mean)
    }


def _draw_cross(panel: Axes, point: Cross, look: Look) -> None:
    for (x0, y0), (x1, y1) in point.bars:
        panel.plot([x0, x1], [y0, y1], color=look.color, linewidth=1.4, solid_capstyle="butt")
    panel.plot(
        point.x,
        point.y,
        look.marker,
        color=look.color,
        markersize=6.5,
        markeredgecolor=CARD,
        markeredgewidth=0.8,
    )


def reliability(stage: str, evaluation: Evaluation, look: Mapping[str, Look]) -> Picture | None:
    """Draw how often a pair's favorite is preferred, against the probability that the reward model gave it.

    There is one panel per model. None means that no model has a calibration curve.
    """
    models = {name: bins for name, bins in evaluation.calibration.items() if bins}
    if not models:
        return None
    start = 0.5 if all(part.predicted >= 0.5 for bins in models.values() for part in bins) else 0.0
    lowest = min(start, *(wilson(part.observed, part.count)[0] for bins in models.values() for part in bins))
    limits = {"xlim": (start - 0.02, 1.02), "ylim": (lowest - 0.03, 1.03)}
    panels = []
    for name, bins in models.items():
        figure, panel = new_panel(3.6, 3.2, f"{name}: error {number_label(calibration_error(bins))}")
        panel.plot([start, 1], [start, 1], color=PALE, linewidth=1, linestyle=(0, (4, 3)))
        _draw_bins(panel, bins, look[name])
        panel.set(**limits, xlabel="predicted probability", ylabel="observed share of pairs")
        panels.append(render(figure, f"{stage}-reliability-{name}"))
    caption = (
        "Reliability of the reward model's probabilities. On the dashed line, predictions come true as often "
        "as they say; below it, the model is too sure. "
        "The area of a point is its number of pairs. Bars are 95 % Wilson intervals."
    )
    return Picture(caption, tuple(panels), of_reliability(evaluation))


def _draw_bins(panel: Axes, bins: tuple[Bin, ...], look: Look) -> None:
    largest = max(part.count for part in bins)
    predicted, observed = [part.predicted for part in bins], [part.observed for part in bins]
    panel.plot(predicted, observed, color=look.color, linewidth=1.2)
    for part in bins:
        low, high = wilson(part.observed, part.count)
        panel.plot([part.predicted] * 2, [low, high], color=look.color, linewidth=1, alpha=0.6)
    sizes = [12 + 60 * part.count / largest for part in bins]
    panel.scatter(predicted, observed, s=sizes, color=look.color, edgecolor=CARD, zorder=3)


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a share of `count` trials (Wilson, 1927, doi:10.1080/01621459.1927.10502953).

    Both ends lie between 0 and 1.
    """
    scale = 1 + z**2 / count
    center = (share + z**2 / (2 * count)) / scale
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / scale
    return center - half, center + half
