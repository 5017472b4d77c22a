"""Sets how every picture looks: one color and marker per stage, plain axes, and names that do not overlap."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The palette of Okabe and Ito, which color-blind people can tell apart. Black is for the base. Yellow comes
# last, because it is too pale on white paper.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BASE, INK, PALE = "#000000", "#333333", "#8A8A8A"
Spot = tuple[float, float]
"""A point of a picture, or a direction in it: x and y."""
DOTS_PER_INCH, PAGE_PIXELS = 160, 102
"""Pixels per inch of a figure: in the PNG file, and on the page."""


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    name: of its file, without ending. caption: what it shows. png: the file's bytes. width: on the page, in
    CSS pixels.
    """

    name: str
    caption: str
    png: bytes
    width: int


@dataclass(frozen=True)
class Look:
    """How one stage is drawn in every picture."""

    color: str
    marker: str


def looks(names: Iterable[str], undrawn: Iterable[str] = ()) -> dict[str, Look]:
    """Return one look per name, in the order given.

    `base` is black. Names in `undrawn`, which no picture shows, are gray. Where there are more names than
    colors, colors repeat with other markers.
    """
    found = {name: Look(PALE, "o") for name in undrawn} | {"base": Look(BASE, "o")}
    for number, name in enumerate(name for name in dict.fromkeys(names) if name != "base"):
        found[name] = Look(
            COLORS[number % len(COLORS)], MARKERS[(number + number // len(COLORS)) % len(MARKERS)]
        )
    return found


def new_figure(
    panels: int, across: int, width: float = 3.4, height: float = 2.5
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `panels` panels in rows of at most `across`.

    width, height: of one panel, in inches.
    """
    from matplotlib.figure import Figure

    columns = min(panels, across)
    rows = -(-panels // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained", facecolor="white")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in grid[panels:]:
        unused.remove()
    axes = list(grid[:panels])
    for panel in axes:
        style(panel)
    return figure, axes


def style(panel: Axes) -> None:
    """Make axes plain: no box around them, a faint grid behind, small letters."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(PALE)
    panel.tick_params(colors=INK, labelsize=8, length=3)
    panel.grid(True, color="#ECECEC", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.xaxis.label.set_fontsize(8.5)
    panel.yaxis.label.set_fontsize(8.5)
    panel.locator_params(nbins=5)


def whole_steps(panel: Axes) -> None:
    """Put the ticks along x at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def render(figure: Figure, name: str, caption: str) -> Picture:
    """Turn a figure into a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DOTS_PER_INCH)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return Picture(name, caption, buffer.getvalue(), round(PAGE_PIXELS * figure.get_figwidth()))


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
    """Write a name a few points away from a spot. A white rim keeps it legible over a line."""
    from matplotlib.patheffects import withStroke

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
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )
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
