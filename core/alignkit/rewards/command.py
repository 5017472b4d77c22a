"""Finds the reward that a command's `--reward` names: a finished stage, or a registered reward."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignkit.errors import UserError, nearest
from alignkit.registry import Registry
from alignkit.rewards.kinds import RegisteredReward, RewardModel, WeightedReward
from alignkit.rewards.lookup import make_reward
from alignkit.run.finished import finished_adapter
from alignkit.run.folder import RunFolder

WHERE = "--reward"


def find_reward(
    named: str, model: Mapping[str, Any], registry: Registry
) -> tuple[WeightedReward, RunFolder | None]:
    """Return the reward, and the run in which its stage lies where it is a reward model.

    model: the policy's, as its manifest has it. A reward model must lie over the same base, because both are
    adapters of one base. Raises UserError for anything else.
    """
    folder = Path(named)
    registered = named in registry.rewards.items
    if registered and folder.is_dir():
        raise UserError(
            f"{named!r} is both a registered reward and a folder",
            where=WHERE,
            hint=f"Write ./{named}, or rename the folder.",
        )
    if registered:
        call = make_reward(registry, named, {}, WHERE)
        return WeightedReward(RegisteredReward(named, call, registry.rewards.owners[named].name)), None
    if not folder.is_dir():
        raise UserError(
            f"no folder and no reward is called {named!r}",
            where=WHERE,
            hint=nearest(named, registry.rewards.items),
        )
    folder = folder.resolve()
    _, manifest = finished_adapter(folder)
    if set(manifest.inputs.trains.values()) != {"reward"}:
        found = ", ".join(sorted(manifest.inputs.trains)) or "nothing"
        raise UserError(
            f"the stage {named!r} is no reward model, it trains {found}",
            where=WHERE,
            hint="Name a stage that trains a reward model.",
        )
    _require_same_base(named, manifest.inputs.model, model)
    return WeightedReward(RewardModel(folder.name)), RunFolder(folder.parent)


def _require_same_base(named: str, of_reward: Mapping[str, Any], of_policy: Mapping[str, Any]) -> None:
    """Refuse a reward model over other weights. The same weights quantized otherwise are another base too."""
    if _identity(of_reward) != _identity(of_policy):
        found, expected = (
            f"{model.get('base')} ({model.get('quantization')}{_blocks(model)})"
            for model in (of_reward, of_policy)
        )
        changed = "; its files differ" if found == expected else ""
        raise UserError(
            f"the reward model {named!r} was trained over the base {found}, "
            f"the policy over {expected}{changed}",
            where=WHERE,
            hint="Both must share one base: train the reward model over the policy's.",
        )


def _identity(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells bases apart. Until November 2026 all blocks were of 64."""
    return {**{key: model.get(key) for key in ("content", "quantization")}, "block_size": _block_size(model)}


def _block_size(model: Mapping[str, Any]) -> int:
    return model.get("block_size", 64)


def _blocks(model: Mapping[str, Any]) -> str:
    return "" if _block_size(model) == 64 else f" in blocks of {_block_size(model)}"
