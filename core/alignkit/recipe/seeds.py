"""Expands `seeds: n`: the stage `policy` becomes `policy-seed-1` … `policy-seed-n`.

They differ in `seed` alone: the first has the seed that the stage would have without `seeds`, and the others
have the numbers after it. Where a stage with seeds names another one with as many, the stage of the same seed
is meant. An evaluation is not multiplied: it measures all seeds of its targets together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from alignkit.errors import UserError
from alignkit.recipe.mistakes import validate
from alignkit.recipe.references import add_stage, references, renamed
from alignkit.recipe.section import Section

NUMBERED = "A stage with seeds gets their numbers in its name: rename one."

Seeds = Annotated[int, Field(ge=1, strict=True)]
"""A number of seeds."""
MEASURED = ("evaluate", "against")
"""The keys of an evaluation whose names may stand for several seeds."""


class _Seeds(Section):
    seeds: Seeds = Field(default=1, description="number of seeds")


def seed_name(name: str, number: int) -> str:
    """Return the name of the stage that `name` is with its seed `number`, which counts from 1."""
    return f"{name}-seed-{number}"


def expand(stages: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return stages, as plain values, with one stage for each seed.

    seed: the recipe's. Raises UserError, at the key path, for a mistake in `seeds`, and for a stage that
    names one with several seeds and does not say which is meant.
    """
    counts = {name: _count(stage, f"stages.{name}") for name, stage in stages.items()}
    several = {name: count for name, count in counts.items() if count > 1}
    flat: dict[str, Any] = {}
    for name, stage in stages.items():
        where = f"stages.{name}"
        if is_evaluation(stage):
            add_stage(flat, name, _with_counts(stage, several, where), where, NUMBERED)
        elif name in several:
            _require_same(stage, counts[name], several, where)
            for number in range(1, counts[name] + 1):
                meaning = {other: seed_name(other, number) for other in several}
                made = {**renamed(stage, meaning), **_seed(stage, seed, number)}
                del made["seeds"]
                add_stage(flat, seed_name(name, number), made, where, NUMBERED)
        else:
            _require_same(stage, 1, several, where)
            add_stage(flat, name, stage, where, NUMBERED)
    return flat


def _count(stage: Any, where: str) -> int:
    """Return the number of a stage's seeds. An evaluation has none of its own."""
    if not isinstance(stage, dict) or "seeds" not in stage or is_evaluation(stage):
        return 1
    return validate(_Seeds, {"seeds": stage["seeds"]}, where).seeds


def is_evaluation(stage: Any) -> bool:
    """Tell whether a stage, as plain values, is one that is done once for all seeds."""
    return isinstance(stage, dict) and "evaluate" in stage


def _seed(stage: Mapping[str, Any], recipes: int, number: int) -> dict[str, Any]:
    """Return the seed of a stage's number. One that is no number stays: its validation refuses it."""
    own = stage.get("seed")
    first = recipes if own is None else own
    return {"seed": first + number - 1 if type(first) is int else first}


def _with_counts(stage: Mapping[str, Any], several: Mapping[str, int], where: str) -> dict[str, Any]:
    """Return an evaluation that knows how many seeds the names have that it measures."""
    others = {key: value for key, value in stage.items() if key not in MEASURED}
    _require_same(others, 1, several, where, hint="")
    measured = references({key: stage[key] for key in MEASURED if key in stage})
    counts = {name: several[name] for name in sorted(measured & several.keys())}
    own = stage.get("seeds", {})
    return {**stage, "seeds": {**counts, **own} if isinstance(own, dict) else own}


def _require_same(
    stage: Any,
    count: int,
    several: Mapping[str, int],
    where: str,
    hint: str = ", or give this stage `seeds: {}` too",
) -> None:
    """Refuse a stage that names another one with another number of seeds. hint: what else a user can do."""
    for name in sorted(references(stage) & several.keys()):
        if several[name] != count:
            raise UserError(
                f"{name!r} has {several[name]} seeds, and what names it here has {count}",
                where=where,
                hint=f"Name the stage of one seed, {seed_name(name, 1)}{hint.format(several[name])}.",
            )
