"""Random completions for the conformance suite: of the sizes that the data has, with the signals that the
objective declares.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from alignkit.batch import Rollouts
from alignkit.objective import Demonstrations, Labelled, Objective, OnlineObjective, Preferences, Prompts

SIGNALS = {
    "policy": ("logps", "entropy"),
    "reference": ("reference_logps",),
    "reward": ("scores",),
    "value": ("values",),
}
PER_TOKEN = ("logps", "entropy", "reference_logps", "values")
GROUPS, LONGEST = 4, 5


@dataclass(frozen=True)
class Case:
    """Random completions. given: with what is known before `loss`. leaves: the trained roles' signals in
    `loss`, with gradient.
    """

    given: Rollouts
    leaves: dict[str, Tensor]


def signals_of(objective: Objective, role: str) -> tuple[str, ...]:
    """The signals that the role gives this objective."""
    return tuple(signal for signal in SIGNALS[role] if signal != "entropy" or objective.entropy)


def make_case(objective: Objective, seed: int, columns: Collection[str]) -> Case:
    """Random groups of the size that the data has. The first token of a completion is its number."""
    generator = torch.Generator().manual_seed(seed)
    sizes = _sizes(objective, generator)
    group = torch.arange(GROUPS).repeat_interleave(sizes)
    count = len(group)
    lengths = torch.randint(1, LONGEST + 1, (count,), generator=generator)
    lengths[0] = 1  # some padding there always is
    mask = torch.arange(LONGEST) < lengths[:, None]
    tokens = torch.randint(1, 100, mask.shape, generator=generator) * mask
    tokens[:, 0] = torch.arange(count)
    known = {"logps": -torch.rand(mask.shape, generator=generator).mul(3) * mask}
    known |= {
        name: (known["logps"] + 0.3 * torch.randn(mask.shape, generator=generator)) * mask
        for name in ("reference_logps", "later")
    }
    known["entropy"] = torch.rand(mask.shape, generator=generator).add(0.5) * mask
    known["values"] = torch.randn(mask.shape, generator=generator) * mask
    known["scores"] = torch.randn(count, generator=generator)
    declared = sorted(
        {signal for role in {*objective.trains, *objective.reads} for signal in signals_of(objective, role)}
    )
    trained = sorted({signal for role in objective.trains for signal in signals_of(objective, role)})
    leaves = {}
    for name in trained:
        moved = (
            known["later"]
            if name == "logps"
            else known[name] + 0.1 * torch.randn(known[name].shape, generator=generator)
        )
        leaves[name] = (moved * mask if name in PER_TOKEN else moved).requires_grad_()
    online = isinstance(objective, OnlineObjective)
    signals = {name: known[name] for name in declared if online or name not in trained}
    if online:
        signals["rewards"] = torch.randn(count, generator=generator)
    return Case(
        Rollouts(tokens, mask, group, _columns(objective, group, generator, columns), signals), leaves
    )


def _sizes(objective: Objective, generator: torch.Generator) -> Tensor:
    """Completions of each group, (G,). Rewards may abstain, so that a prompt can have fewer samples than were
    drawn.
    """
    if isinstance(objective, OnlineObjective):
        sizes = torch.randint(1, objective.samples_per_prompt + 1, (GROUPS,), generator=generator)
        sizes[0] = objective.samples_per_prompt
        return sizes
    least, most = {Demonstrations: (1, 1), Preferences: (2, 4), Labelled: (1, 3)}.get(
        type(objective).data, (1, 4)
    )
    return torch.randint(least, most + 1, (GROUPS,), generator=generator)


def _columns(
    objective: Objective, group: Tensor, generator: torch.Generator, names: Collection[str]
) -> dict[str, Tensor]:
    """(N,) each: what the kind of data brings, and what the author names besides."""
    count, data = len(group), type(objective).data
    found = {name: torch.rand(count, generator=generator) + 0.5 for name in sorted(names)}
    if "weight" in found:
        found["weight"] = found["weight"][group]  # one for each prompt
    if issubclass(data, Preferences):
        first = torch.cat([torch.ones(1, dtype=torch.bool), group[1:] != group[:-1]])
        # ties, and never all
        found["rank"] = torch.where(first, 0, torch.randint(1, 3, (count,), generator=generator)).float()
    if issubclass(data, Labelled):
        found["label"] = (torch.arange(count) % 2).float()
    if issubclass(data, Prompts):
        found["finished"] = (torch.rand(count, generator=generator) < 0.5).float()
    return found


def padded(rollouts: Rollouts, columns: int) -> Rollouts:
    """The same completions with more padding."""
    wide = {name: wider(value, columns) for name, value in rollouts.signals.items()}
    return Rollouts(
        wider(rollouts.tokens, columns), wider(rollouts.mask, columns), rollouts.group, rollouts.columns, wide
    )


def wider(tensor: Tensor, columns: int) -> Tensor:
    """(N, T) with more columns of zeros; (N,) as it is."""
    return pad(tensor, (0, columns)) if tensor.ndim == 2 else tensor
