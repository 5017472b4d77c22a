"""How every picture looks: one colour and marker a stage, plain axes, labels that keep clear of each
other.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by the colour-blind; black is for the base, yellow is too pale for white
# paper and comes last.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BASE, INK, PALE = "#000000", "#333333", "#8A8A8A"
Spot = tuple[float, float]
DOTS_PER_INCH, PAGE_PIXELS = 160, 102  # of the file, and of the page


@dataclass(frozen=True)
class Picture:
    """A drawn figure: its file name without ending, what it shows, the PNG, and how wide a page shows it, in
    CSS pixels.
    """

    name: str
    caption: str
    png: bytes
    width: int


@dataclass(frozen=True)
class Look:
    """How one stage is drawn, in every picture."""

    color: str
    marker: str


def looks(names: Iterable[str], undrawn: Iterable[str] = ()) -> dict[str, Look]:
    """A look a name, in the order given; `base` is black, and what no picture shows grey.

    Past the palette's end colours repeat with other markers.
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
    """A figure with that many panels in rows of at most `across`, sizes in inches."""
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
    """Plain axes: no box, a faint grid behind, small ink."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(PALE)
    panel.tick_params(colors=INK, labelsize=8, length=3)
    panel.grid(True, color="#ECECEC", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.xaxis.label.set_fontsize(8.5)
    panel.yaxis.label.set_fontsize(8.5)
    panel.locator_params(nbins=5)


def whole_steps(panel: Axes) -> None:
    """Ticks at whole numbers along x."""
    from matplotlib.ticker import MaxNLocator

    panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def render(figure: Figure, name: str, caption: str) -> Picture:
    """The figure as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DOTS_PER_INCH)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return Picture(name, caption, buffer.getvalue(), round(PAGE_PIXELS * figure.get_figwidth()))


@dataclass(frozen=True)
class Cross:
    """A point with the ends of its horizontal and its vertical bar, in the axes' units."""

    x: float
    y: float
    left: float
    right: float
    bottom: float
    top: float

    @property
    def bars(self) -> tuple[tuple[Spot, Spot], tuple[Spot, Spot]]:
        """Both ends of both bars."""
        return ((self.left, self.y), (self.right, self.y)), ((self.x, self.bottom), (self.x, self.top))

    def places(self) -> list[tuple[Spot, Spot]]:
        """Where its name may stand: beside the point in any quarter, else past the end of a bar; each with
        the way to it.
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
    """Write each point's name where it covers least of the points, the bars and the names before it, and
    stays inside.
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
    """A name a few points off a spot. A white rim keeps it legible over a line."""
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
    return (point[0] - reach, point[1] - reach, point[0] + reach, point[1] + reach)


def _between(start: Any, end: Any) -> tuple[float, ...]:
    """The box of a straight bar, a few pixels thick."""
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
