"""Where the pipeline's boxes and arrows go: stages in columns by dependency, arrows from left to right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 130, 46, 42, 20, 8


@dataclass(frozen=True)
class Box:
    """A stage's place: its upper left corner in pixels."""

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
    """A place in a column: a stage, or where the arrow from the stage `name` to `target` passes by column
    `column`.
    """

    name: str
    target: str | None = None
    column: int | None = None


def lay_out(reads: Mapping[str, Sequence[str]]) -> Diagram:
    """Lay out stages, given in dependency order with the stages each reads. An arrow that follows from other
    arrows is left out.
    """
    names = list(reads)
    before = {name: [other for other in reads[name] if other in names[: names.index(name)]] for name in names}
    level: dict[str, int] = {}
    for name in names:
        level[name] = 1 + max((level[other] for other in before[name]), default=-1)
    arrows = [(other, name) for name in names for other in before[name] if not _follows(other, name, before)]
    columns: list[list[_Slot]] = [[] for _ in range(1 + max(level.values()))]
    for name in names:
        columns[level[name]].append(_Slot(name))
    for source, target in arrows:
        for between in range(level[source] + 1, level[target]):
            columns[between].append(_Slot(source, target, between))
    centres = _centres(columns, arrows)
    bottom = max(centre + HEIGHT / 2 for centre in centres.values())
    boxes = tuple(Box(name, _left(level[name]), centres[_Slot(name)] - HEIGHT / 2) for name in names)
    paths = []
    for source, target in arrows:
        points = [(_left(level[source]) + WIDTH, centres[_Slot(source)])]
        for between in range(level[source] + 1, level[target]):
            height = centres[_Slot(source, target, between)]
            points += [(_left(between), height), (_left(between) + WIDTH, height)]
        points.append((_left(level[target]), centres[_Slot(target)]))
        paths.append(_curve(points))
    return Diagram(_left(len(columns)) - ACROSS + MARGIN, bottom + MARGIN, boxes, tuple(paths))


def _left(column: int) -> float:
    return MARGIN + column * (WIDTH + ACROSS)


def _follows(source: str, target: str, before: Mapping[str, Sequence[str]]) -> bool:
    """Whether `target` also reads something that, by any path, reads `source`."""
    waiting, seen = [name for name in before[target] if name != source], set()
    while waiting:
        name = waiting.pop()
        if name == source:
            return True
        if name not in seen:
            seen.add(name)
            waiting += before[name]
    return False


def _centres(columns: list[list[_Slot]], arrows: list[tuple[str, str]]) -> dict[_Slot, float]:
    """The height of each slot's middle. Each column is ordered by the mean height of what leads to it, and
    centred.
    """
    tallest = max(_tall(column) for column in columns)
    centres: dict[_Slot, float] = {}
    for column in columns:
        sources = {
            slot: [slot.name] if slot.target else [source for source, target in arrows if target == slot.name]
            for slot in column
        }
        mean = {
            slot: sum(centres[_Slot(n)] for n in from_) / len(from_) if from_ else 0.0
            for slot, from_ in sources.items()
        }
        y = MARGIN + (tallest - _tall(column)) / 2
        for slot in sorted(column, key=lambda slot: mean[slot]):
            high = 0 if slot.target else HEIGHT
            centres[slot] = y + high / 2
            y += high + DOWN
    return centres


def _tall(column: list[_Slot]) -> float:
    return sum(DOWN + (0 if slot.target else HEIGHT) for slot in column) - DOWN


def _curve(points: list[tuple[float, float]]) -> str:
    """An SVG path that leaves and enters every point horizontally."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (x0 + x1) / 2
        path += f" C{middle:g} {y0:g} {middle:g} {y1:g} {x1:g} {y1:g}"
    return path
