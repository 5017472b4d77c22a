"""Puts stages together that differ only in their seed: NAME-seed-1, NAME-seed-2, … are the family NAME."""

from __future__ import annotations

import re
from collections.abc import Iterable

SEEDED = re.compile(r"(?P<family>.+)-seed-\d+")


def family_of(name: str) -> str:
    """Return the family's name of a stage that is trained with several seeds, else the stage's own."""
    match = SEEDED.fullmatch(name)
    return match["family"] if match else name


def families(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the members of each family, in the order given; most have only one."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        family = family_of(name)
        found[family] = (*found.get(family, ()), name)
    return found
