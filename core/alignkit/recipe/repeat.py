"""Unrolls blocks of stages: `{repeat: n, stages: …}` is done n times, `{seeds: n, stages: …}` with n seeds.

In round k the block's stage `policy` becomes `policy-k`. Where a stage of the block names another one, it
means the one of its own round if this is written before it, else the one of the round before. The first round
has no round before: `first` tells what the name means there. After the block, the name means the stage of the
last round.

The seeds of a block are those of each of its stages; `seeds.py` expands them. A block may have both keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from alignkit.errors import UserError, nearest
from alignkit.recipe.mistakes import validate
from alignkit.recipe.references import add_stage, references, renamed
from alignkit.recipe.section import Section
from alignkit.recipe.seeds import Seeds, is_evaluation
from alignkit.recipe.terms import BASE

NUMBERED = "A block's stages get the number of their round: rename one."


class Block(Section):
    """Does stages several times: in rounds, each on what the round before made, or with several seeds."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["repeat"]}, {"required": ["seeds"]}]}
    )

    repeat: int | None = Field(
        default=None, ge=1, strict=True, description="number of rounds; none means that there are no rounds"
    )
    seeds: Seeds = Field(
        default=1, description="number of seeds of each stage of the block but its evaluations"
    )
    stages: dict[str, Any] = Field(
        min_length=1, description="stages by name; in round 2, the stage NAME is called NAME-2"
    )
    first: dict[str, str] | None = Field(
        default=None,
        description="what names of the block's stages mean in the first round, as {NAME: stage or base}",
    )

    @model_validator(mode="after")
    def _has_a_number(self) -> Block:
        if not {"repeat", "seeds"} & self.model_fields_set:
            raise ValueError("a block of stages has `repeat`, `seeds`, or both")
        if self.first is not None and self.repeat is None:
            raise ValueError("`first` is for the first of several rounds: give `repeat` too")
        return self


def unroll(stages: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's stages, as plain values, without blocks. Those of a block have its seeds.

    Raises UserError, at the key path, for a mistake in a block and for two stages of one name.
    """
    flat: dict[str, Any] = {}
    latest: dict[str, str] = {}  # names of blocks' stages, and the names of their last rounds
    for name, stage in stages.items():
        where = f"stages.{name}"
        if _is_block(stage):
            latest |= _unroll_block(_read_block(stage, where), latest, flat, where)
        else:
            add_stage(flat, name, renamed(stage, latest), where, NUMBERED)
    return flat


def _is_block(stage: Any) -> bool:
    return isinstance(stage, dict) and ("repeat" in stage or "stages" in stage)


def _unroll_block(
    block: Block, latest: Mapping[str, str], flat: dict[str, Any], where: str
) -> Mapping[str, str]:
    """Add every round's stages to `flat`, and return the names of the last round by the block's names."""
    first = block.first or {}
    before = {**latest, **{name: latest.get(meant, meant) for name, meant in first.items()}}
    made: dict[str, str] = {}
    if block.repeat is None:
        for name, stage in block.stages.items():
            add_stage(flat, name, renamed(stage, latest), where, NUMBERED)
        return {}
    for number in range(1, block.repeat + 1):
        before, made = {**before, **made}, {}
        for name, stage in block.stages.items():
            meaning = {**before, **made}
            _require_made(references(stage) & block.stages.keys() - meaning.keys(), f"{where}.stages.{name}")
            made[name] = f"{name}-{number}"
            add_stage(flat, made[name], renamed(stage, meaning), where, NUMBERED)
    return made


def _read_block(raw: dict[str, Any], where: str) -> Block:
    block = validate(Block, raw, where)
    for name, stage in block.stages.items():
        if name == BASE:
            raise UserError(
                "'base' means the base model, so no stage can have this name",
                where=f"{where}.stages.{name}",
                hint="Rename the stage.",
            )
        if _is_block(stage):
            raise UserError(
                "found a block within a block; a block holds only stages",
                where=f"{where}.stages.{name}",
                hint="Put the blocks one after the other. One block may have both `repeat` and `seeds`.",
            )
    for name in block.first or {}:
        if name not in block.stages:
            raise UserError(
                f"the block has no stage {name!r}", where=f"{where}.first", hint=nearest(name, block.stages)
            )
    stages = {
        name: _with_seeds(stage, block, f"{where}.stages.{name}") for name, stage in block.stages.items()
    }
    return block.model_copy(update={"stages": stages})


def _with_seeds(stage: Any, block: Block, where: str) -> Any:
    """Return a stage with the seeds of its block."""
    if "seeds" not in block.model_fields_set or not isinstance(stage, dict) or is_evaluation(stage):
        return stage
    if "seeds" in stage:
        raise UserError(
            "the block has `seeds`, which are those of each of its stages",
            where=f"{where}.seeds",
            hint="Give `seeds` to the block, or to its stages.",
        )
    return {**stage, "seeds": block.seeds}


def _require_made(missing: set[str], where: str) -> None:
    if missing:
        raise UserError(
            f"the first round needs {', '.join(sorted(missing))} before it is made",
            where=where,
            hint=f"Say what the name means in the first round: first: {{{min(missing)}: base}}.",
        )
