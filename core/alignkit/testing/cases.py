"""Makes random completions for the conformance suite.

Their groups have the sizes that the data has, and they carry the signals that the objective declares.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from alignkit.batch import Rollouts
from alignkit.objective import Demonstrations, Labelled, Objective, OnlineObjective, Preferences, Prompts
from alignkit.signals import SIGNALS, signals_of

GROUPS, LONGEST = 4, 5
"""Groups of a case, and the most tokens of a completion."""


@dataclass(frozen=True)
class Case:
    """Random completions.

    given: the completions with the signals that are known before `loss`. leaves: the signals of the trained
    roles in `loss`, with gradient.
    """

    given: Rollouts
    leaves: dict[str, Tensor]


def make_case(objective: Objective, seed: int, columns: Collection[str]) -> Case:
    """Return random groups of the sizes that the data has. columns: of the data, besides its kind's own.

    The first token of a completion is its number.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = _sizes(objective, generator)
    group = torch.arange(GROUPS).repeat_interleave(sizes)
    count = len(group)
    lengths = torch.randint(1, LONGEST + 1, (count,), generator=generator)
    lengths[0] = 1  # so that there is always some padding
    mask = torch.arange(LONGEST) < lengths[:, None]
    tokens = torch.randint(1, 100, mask.shape, generator=generator) * mask
    tokens[:, 0] = torch.arange(count)
    at_sampling = _signals(mask, generator)
    trained = _signals_of(objective, objective.trains)
    leaves = {name: _moved(name, at_sampling[name], mask, generator) for name in trained}
    online = isinstance(objective, OnlineObjective)
    known = _signals_of(objective, {*objective.trains, *objective.reads})
    signals = {name: at_sampling[name] for name in known if online or name not in trained}
    if online:
        signals["rewards"] = torch.randn(count, generator=generator)
    data = _columns(objective, group, generator, columns)
    return Case(Rollouts(tokens, mask, group, data, signals), leaves)


def _signals_of(objective: Objective, roles: Collection[str]) -> list[str]:
    """Return the names of the signals that the roles give this objective, in order."""
    return sorted(name for role in roles for name in signals_of(role, entropy=objective.entropy))


def _signals(mask: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return random signals as at sampling, (N, T) and zero outside the mask, or (N,).

    The reference is near the policy, as it is in training.
    """

    def normal() -> Tensor:
        return torch.randn(mask.shape, generator=generator) * mask

    logps = -3 * torch.rand(mask.shape, generator=generator) * mask
    return {
        "logps": logps,
        "reference_logps": logps + 0.3 * normal(),
        "entropy": (torch.rand(mask.shape, generator=generator) + 0.5) * mask,
        "values": normal(),
        "scores": torch.randn(len(mask), generator=generator),
    }


def _moved(name: str, value: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Return a signal as it is after some training, with gradient."""
    noise = torch.randn(value.shape, generator=generator)
    far = 0.3 if name == "logps" else 0.1
    return (value + far * noise * (mask if SIGNALS[name].per_token else 1)).requires_grad_()


def _sizes(objective: Objective, generator: torch.Generator) -> Tensor:
    """Return the number of completions of each group, (G,)."""
    if isinstance(objective, OnlineObjective):
        # Rewards may abstain, so a prompt can have fewer samples than were drawn.
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
    """Return the columns of the kind of data and those that the author names, (N,) each."""
    count, data = len(group), type(objective).data
    found = {name: torch.rand(count, generator=generator) + 0.5 for name in sorted(names)}
    if "weight" in found:
        found["weight"] = found["weight"][group]  # one per prompt
    if issubclass(data, Preferences):
        first = torch.cat([torch.ones(1, dtype=torch.bool), group[1:] != group[:-1]])
        # with ties, but never ties alone
        found["rank"] = torch.where(first, 0, torch.randint(1, 3, (count,), generator=generator)).float()
    if issubclass(data, Labelled):
        found["label"] = (torch.arange(count) % 2).float()
    if issubclass(data, Prompts):
        found["finished"] = (torch.rand(count, generator=generator) < 0.5).float()
    return found


def padded(rollouts: Rollouts, columns: int) -> Rollouts:
    """Return the same completions with more columns of padding."""
    wide = {name: wider(value, columns) for name, value in rollouts.signals.items()}
    return Rollouts(
        wider(rollouts.tokens, columns), wider(rollouts.mask, columns), rollouts.group, rollouts.columns, wide
    )


def wider(tensor: Tensor, columns: int) -> Tensor:
    """Return a tensor (N, T) with more columns of zeros, and a tensor (N,) as it is."""
    return pad(tensor, (0, columns)) if tensor.ndim == 2 else tensor
