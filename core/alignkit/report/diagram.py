"""Lays out the pipeline's diagram: stages in columns by dependency, arrows from left to right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 130, 46, 42, 20, 8


@dataclass(frozen=True)
class Box:
    """The place of a stage: its upper left corner, in pixels."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Diagram:
    """Boxes of `WIDTH` × `HEIGHT` pixels, and the arrows as SVG paths."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]


@dataclass(frozen=True)
class _Slot:
    """A place in a column.

    It holds the stage `name`. Where `target` is given, it holds the arrow from `name` to `target` on its way
    through the column `column`.
    """

    name: str
    target: str | None = None
    column: int | None = None


def lay_out(reads: Mapping[str, Sequence[str]]) -> Diagram:
    """Lay out stages, given in dependency order with the stages that each reads.

    An arrow that follows from other arrows is left out.
    """
    names = list(reads)
    before = {name: [other for other in reads[name] if other in names[: names.index(name)]] for name in names}
    level: dict[str, int] = {}
    for name in names:
        level[name] = 1 + max((level[other] for other in before[name]), default=-1)
    arrows = [(other, name) for name in names for other in before[name] if not _follows(other, name, before)]
    columns = _columns(level, arrows)
    centers = _centers(columns, arrows)
    bottom = max(center + HEIGHT / 2 for center in centers.values())
    boxes = tuple(Box(name, _left(level[name]), centers[_Slot(name)] - HEIGHT / 2) for name in names)
    paths = tuple(_curve(_way(source, target, level, centers)) for source, target in arrows)
    return Diagram(_left(len(columns)) - ACROSS + MARGIN, bottom + MARGIN, boxes, paths)


def _columns(level: Mapping[str, int], arrows: list[tuple[str, str]]) -> list[list[_Slot]]:
    """Return what each column holds: its stages, and the arrows that pass through it."""
    columns: list[list[_Slot]] = [[] for _ in range(1 + max(level.values()))]
    for name, column in level.items():
        columns[column].append(_Slot(name))
    for source, target in arrows:
        for between in range(level[source] + 1, level[target]):
            columns[between].append(_Slot(source, target, between))
    return columns


def _way(
    source: str, target: str, level: Mapping[str, int], centers: Mapping[_Slot, float]
) -> list[tuple[float, float]]:
    """Return the points through which an arrow passes, straight through the columns between its ends."""
    points = [(_left(level[source]) + WIDTH, centers[_Slot(source)])]
    for between in range(level[source] + 1, level[target]):
        height = centers[_Slot(source, target, between)]
        points += [(_left(between), height), (_left(between) + WIDTH, height)]
    return [*points, (_left(level[target]), centers[_Slot(target)])]


def _left(column: int) -> float:
    return MARGIN + column * (WIDTH + ACROSS)


def _follows(source: str, target: str, before: Mapping[str, Sequence[str]]) -> bool:
    """Return whether `target` also reads a stage that reads `source`, directly or through other stages."""
    waiting, seen = [name for name in before[target] if name != source], set()
    while waiting:
        name = waiting.pop()
        if name == source:
            return True
        if name not in seen:
            seen.add(name)
            waiting += before[name]
    return False


def _centers(columns: list[list[_Slot]], arrows: list[tuple[str, str]]) -> dict[_Slot, float]:
    """Return the height of the middle of each slot.

    The slots of a column are ordered by the mean height of what leads to them. The column is centered.
    """
    tallest = max(_height(column) for column in columns)
    centers: dict[_Slot, float] = {}
    for column in columns:
        sources = {
            slot: [slot.name] if slot.target else [source for source, target in arrows if target == slot.name]
            for slot in column
        }
        mean = {
            slot: sum(centers[_Slot(n)] for n in from_) / len(from_) if from_ else 0.0
            for slot, from_ in sources.items()
        }
        y = MARGIN + (tallest - _height(column)) / 2
        for slot in sorted(column, key=lambda slot: mean[slot]):
            high = 0 if slot.target else HEIGHT
            centers[slot] = y + high / 2
            y += high + DOWN
    return centers


def _height(column: list[_Slot]) -> float:
    return sum(DOWN + (0 if slot.target else HEIGHT) for slot in column) - DOWN


def _curve(points: list[tuple[float, float]]) -> str:
    """Return an SVG path that leaves and enters every point horizontally."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (x0 + x1) / 2
        path += f" C{middle:g} {y0:g} {middle:g} {y1:g} {x1:g} {y1:g}"
    return path
