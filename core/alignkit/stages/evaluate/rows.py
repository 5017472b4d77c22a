"""Says who is compared in an evaluation: a row of its table for each target, with all seeds of the target."""

from __future__ import annotations

from dataclasses import dataclass

from alignkit.recipe import Evaluate, Target
from alignkit.recipe.seeds import seed_name


@dataclass(frozen=True)
class Contestant:
    """A target with one of its seeds: what is sampled and measured by itself.

    name: under which its results are kept. against: the stage, or base, that it is compared with. Where that
    has seeds, it is the one of the same seed.
    """

    name: str
    target: Target
    against: str

    @property
    def is_reference(self) -> bool:
        """Tell whether it is itself what it would be compared with."""
        return self.name == self.against


@dataclass(frozen=True)
class Row:
    """A line of the table.

    seeds: the number of the target's seeds. contestants: one for each seed of the target, or of what it is
    compared with.
    """

    name: str
    seeds: int
    contestants: tuple[Contestant, ...]

    @property
    def label(self) -> str:
        """Return the name for people."""
        return f"{self.name} ({self.seeds} seeds)" if self.seeds > 1 else self.name


def rows_of(settings: Evaluate) -> list[Row]:
    """Return the rows of the targets."""
    return [_row(target, settings) for target in settings.evaluate]


def rows_with_reference(settings: Evaluate) -> list[Row]:
    """Return the rows of the targets, and first that of the stage `against` where it is not one of them."""
    rows = rows_of(settings)
    reference = _row(Target(stage=settings.against), settings)
    return rows if reference in rows else [reference, *rows]


def _row(target: Target, settings: Evaluate) -> Row:
    seeds, against = settings.seeds, settings.against
    names = [name for name in (*target.stages, against) if name in seeds]
    if not names:
        return Row(target.name, 1, (Contestant(target.name, target, against),))
    contestants = [
        Contestant(
            seed_name(target.name, number),
            target.of_seed(number, seeds),
            seed_name(against, number) if against in seeds else against,
        )
        for number in range(1, seeds[names[0]] + 1)
    ]
    return Row(target.name, settings.seeds_of(target), tuple(contestants))
