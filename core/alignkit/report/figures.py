"""Sets how every picture looks: its paints by day and by night, one look per stage, and plain axes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAINTS = {
    "base": ("#010101", "#f2f3f5"),
    "ink": ("#333333", "#d5d8dc"),
    "pale": ("#8a8a8a", "#8b929b"),
    "grid": ("#ececec", "#32373e"),
    "card": ("#ffffff", "#1f2226"),
    "blue": ("#0072b2", "#4ba6e3"),
    "red": ("#d55e00", "#ff8a3d"),
    "green": ("#009e73", "#2fc79a"),
    "pink": ("#cc79a7", "#e59fc6"),
    "orange": ("#e69f00", "#f2b632"),
    "sky": ("#56b4e9", "#a5dbfb"),
    "olive": ("#998c00", "#f0e442"),
}
"""Each paint on a light page and on a dark one. Stages have the colors of Okabe and Ito, which color-blind
people can tell apart; their yellow is darker here on white paper, and their blue lighter on black. Black is
not quite black, because matplotlib leaves pure black out of its SVG, where no style can then replace it.
"""
BASE, INK, PALE, GRID, CARD = (PAINTS[name][0] for name in ("base", "ink", "pale", "grid", "card"))
COLORS = tuple(PAINTS[name][0] for name in ("blue", "red", "green", "pink", "orange", "sky", "olive"))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PAGE_PIXELS = 102
"""CSS pixels on the page for each inch of a figure."""


@dataclass(frozen=True)
class Panel:
    """A drawn figure. name: of its file, without ending. svg: its text, to stand within a page. width: in
    CSS pixels.
    """

    name: str
    svg: str
    width: int


@dataclass(frozen=True)
class Picture:
    """Panels that are shown side by side, or below each other where there is no room.

    caption: what they show. says: what may be concluded from their numbers and what not, a sentence each.
    """

    caption: str
    panels: tuple[Panel, ...]
    says: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """How one stage is drawn in every picture. color: on a light page."""

    color: str
    marker: str

    @property
    def paint(self) -> str:
        """Return the color as CSS, which follows the page from light to dark."""
        return f"var(--{paint_name(self.color)})"


def paint_name(color: str) -> str:
    """Return the name of a paint whose light color is given."""
    return next(name for name, (light, _) in PAINTS.items() if light == color)


def paints_css() -> str:
    """Return the style sheet that gives every paint, on light pages and on dark ones."""
    light, dark = ("; ".join(f"--{name}: {both[n]}" for name, both in PAINTS.items()) for n in (0, 1))
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"


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


def new_panel(width: float, height: float, title: str = "") -> tuple[Figure, Axes]:
    """Return a figure of `width` × `height` inches with plain axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_visible(False)  # the page shows through
    axes = figure.add_subplot()
    style(axes)
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    return figure, axes


def style(panel: Axes) -> None:
    """Make axes plain: no box around them, a faint grid behind, small letters."""
    panel.patch.set_visible(False)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(PALE)
    panel.tick_params(color=PALE, labelcolor=INK, labelsize=8, length=3)
    panel.grid(True, color=GRID, linewidth=0.6)
    panel.set_axisbelow(True)
    for axis in (panel.xaxis, panel.yaxis):
        axis.label.set_fontsize(8.5)
        axis.label.set_color(INK)
        axis.get_offset_text().set(fontsize=8, color=INK)
    panel.locator_params(nbins=5)


def whole_steps(panel: Axes) -> None:
    """Put the ticks along x at whole numbers, and name the axis."""
    from matplotlib.ticker import MaxNLocator

    panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    panel.set_xlabel("step")
