"""Writes names beside points so that they cover as little as possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alignkit.report.figures import INK
from alignkit.report.vector import RIM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Spot = tuple[float, float]
"""A point of a picture, or a direction in it: x and y."""
DOTS_PER_INCH = 160
"""Pixels per inch in which overlaps are measured."""


@dataclass(frozen=True)
class Cross:
    """A point with the ends of its horizontal and of its vertical bar, in the units of the axes."""

    x: float
    y: float
    left: float
    right: float
    bottom: float
    top: float

    @property
    def bars(self) -> tuple[tuple[Spot, Spot], tuple[Spot, Spot]]:
        """Return the two ends of each bar."""
        return ((self.left, self.y), (self.right, self.y)), ((self.x, self.bottom), (self.x, self.top))

    def places(self) -> list[tuple[Spot, Spot]]:
        """Return the places where its name may stand, each as a spot and the direction from there.

        The name stands beside the point in any quarter, or past the end of a bar.
        """
        beside = [((self.x, self.y), way) for way in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
        return [
            *beside,
            ((self.right, self.y), (1, 0)),
            ((self.x, self.top), (0, 1)),
            ((self.x, self.bottom), (0, -1)),
            ((self.left, self.y), (-1, 0)),
        ]


def label_points(panel: Axes, points: Mapping[str, Cross]) -> None:
    """Write each point's name at the place with the lowest cost.

    The cost of a place is the area of points, bars and earlier names that the name would cover, plus four
    times the area of the name that would lie outside the panel.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = panel.get_figure(root=True)
    assert figure is not None
    figure.set_dpi(DOTS_PER_INCH)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    pixels = panel.transData.transform
    taken = [_around(pixels((point.x, point.y)), 9) for point in points.values()]
    taken += [_between(pixels(start), pixels(end)) for point in points.values() for start, end in point.bars]
    frame = panel.get_window_extent(renderer).extents
    for name, point in points.items():
        tried = [_write(panel, name, spot, way) for spot, way in point.places()]
        boxes = [text.get_window_extent(renderer).extents for text in tried]
        costs = [
            sum(_overlap(box, other) for other in taken) + 4 * (_area(box) - _overlap(box, frame))
            for box in boxes
        ]
        best = costs.index(min(costs))
        for number, text in enumerate(tried):
            if number != best:
                text.remove()
        taken.append(boxes[best])


def _write(panel: Axes, name: str, spot: Spot, way: Spot) -> Any:
    """Write a name a few points away from a spot. A rim keeps it legible over a line."""
    dx, dy = way
    text = panel.annotate(
        name,
        spot,
        (6 * dx, 5 * dy),
        textcoords="offset points",
        fontsize=8.5,
        color=INK,
        zorder=5,
        ha="right" if dx < 0 else "left" if dx else "center",
        va="top" if dy < 0 else "bottom" if dy else "center",
    )
    text.set_gid(RIM)
    text.set_in_layout(False)
    return text


def _around(point: Any, reach: float) -> tuple[float, ...]:
    """Return the box around a point: left, bottom, right, top."""
    return (point[0] - reach, point[1] - reach, point[0] + reach, point[1] + reach)


def _between(start: Any, end: Any) -> tuple[float, ...]:
    """Return the box of a straight bar, a few pixels thick."""
    return (
        min(start[0], end[0]) - 3,
        min(start[1], end[1]) - 3,
        max(start[0], end[0]) + 3,
        max(start[1], end[1]) + 3,
    )


def _area(box: Any) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _overlap(a: Any, b: Any) -> float:
    return _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
