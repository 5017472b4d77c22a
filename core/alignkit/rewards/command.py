"""The reward that a command names: the folder of a finished reward-model stage, or a registered reward."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignkit.errors import UserError, nearest
from alignkit.models.export import adapter_of
from alignkit.registry import Registry
from alignkit.rewards.kinds import WeightedReward
from alignkit.rewards.lookup import make_reward
from alignkit.run.manifest import read_manifest

WHERE = "--reward"


def find_reward(named: str, model: Mapping[str, Any], registry: Registry) -> tuple[WeightedReward, Path]:
    """The reward, and the run that it lies in where it is a stage. model: the policy's, as its manifest has
    it; a reward model must lie over the same base, because both are adapters of one."""
    folder = Path(named)
    registered = named in registry.rewards.items
    if registered and folder.is_dir():
        raise UserError(
            f"{named!r} is both a registered reward and a folder",
            where=WHERE,
            hint=f"Write ./{named}, or rename the folder.",
        )
    if registered:
        return WeightedReward(named, call=make_reward(registry, named, {}, WHERE, [])), Path()
    if not folder.is_dir():
        raise UserError(
            f"no folder and no reward is called {named!r}",
            where=WHERE,
            hint=nearest(named, registry.rewards.items),
        )
    folder = folder.resolve()
    adapter_of(folder)
    manifest = read_manifest(folder)
    assert manifest is not None
    trained = {role for term in manifest.inputs["terms"] for role in term.get("trains", ())}
    if trained != {"reward"}:
        found = ", ".join(sorted(trained)) or "nothing"
        raise UserError(
            f"the stage {named!r} is no reward model, it trains {found}",
            where=WHERE,
            hint="Name one that trains reward.",
        )
    _require_same_base(named, manifest.inputs["model"], model)
    return WeightedReward(folder.name), folder.parent


def _require_same_base(named: str, of_reward: Mapping[str, Any], of_policy: Mapping[str, Any]) -> None:
    """`content` tells bases apart, wherever they lie; quantized otherwise the same weights are another
    base.
    """
    if any(of_reward.get(key) != of_policy.get(key) for key in ("content", "quantization")):
        found, expected = (
            f"{model.get('base')} ({model.get('quantization')})" for model in (of_reward, of_policy)
        )
        changed = "; its files differ" if found == expected else ""
        raise UserError(
            f"the reward model {named!r} was trained over the base {found}, the policy over "
            f"{expected}{changed}",
            where=WHERE,
            hint="Both must share one base: train the reward model over the policy's.",
        )
