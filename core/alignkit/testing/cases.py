"""Makes random completions for the conformance suite.

Their groups have the sizes that the data has, and they carry the signals that the objective declares.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from alignkit.batch import REWARD_PART, Prompt
from alignkit.data.rows import batch_of
from alignkit.example import Group
from alignkit.objective import (
    Demonstrations,
    Labelled,
    Objective,
    OnlineObjective,
    Preferences,
    Stepwise,
    overrides,
    roles_of,
    signals_for,
    sources_of,
    trained_signals,
)
from alignkit.rollouts import Rollouts
from alignkit.signals import ENTROPY, KINDS, STEP_END, signals_of
from alignkit.training.calling import arranged

GROUPS, LONGEST, VOCABULARY = 4, 5, 100
"""Groups of a case, the most tokens of a completion, and the number of token ids."""
REWARD_WEIGHTS = {"first": 1.0, "second": 0.5}
"""The rewards of rollouts, with their weights."""


@dataclass(frozen=True)
class Case:
    """Random completions.

    given: the completions with the signals that are known before `loss`. leaves: the signals of the trained
    roles in `loss`, with gradient.
    """

    given: Rollouts
    leaves: dict[str, Tensor]


@dataclass(frozen=True)
class _Completions:
    """Random completions without signals, as `Batch` has them. The columns are those of the data."""

    tokens: Tensor
    mask: Tensor
    group: Tensor
    columns: dict[str, Tensor]
    prompts: tuple[Prompt, ...]


def make_case(
    objective: Objective, seed: int, columns: Collection[str], token_columns: Collection[str] = ()
) -> Case:
    """Return random groups of the sizes that the data has, as the objective arranges them.

    Rollouts of odd seeds have a reward for each token. columns: of the data, besides its kind's own.
    token_columns: those with a number for each token. The first token of a completion is its number.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = _completions(objective, generator, columns, token_columns)
    if overrides(objective, "arrange"):
        drawn = _arranged(objective, drawn)
    tokens, mask, group = drawn.tokens, drawn.mask, drawn.group
    tokens[:, 0] = torch.arange(len(group))
    at_sampling = _signals(objective, mask, generator)
    trained = trained_signals(objective)
    leaves = {name: _moved(name, at_sampling[name], mask, generator) for name in trained}
    online = isinstance(objective, OnlineObjective)
    known = [*signals_for(objective, {*objective.trains, *objective.reads}), *objective.over_vocabulary]
    signals = {name: at_sampling[name] for name in known if online or name not in trained}
    if isinstance(objective, OnlineObjective):
        signals |= _of_rollouts(objective, mask, group, generator)
        if objective.rewarded and seed % 2:  # some rewards give a number per completion, some one per token
            signals["token_rewards"] = _spread(signals["rewards"], mask, generator)
        if objective.step_separator is not None:
            signals[STEP_END] = _of_steps(mask, generator)[STEP_END]
    sources = tuple(sources_of(objective)) if isinstance(objective, OnlineObjective) else ()
    given = Rollouts(
        tokens,
        mask,
        group,
        drawn.columns,
        signals,
        drawn.prompts,
        sources=sources,
        reward_weights=REWARD_WEIGHTS,
    )
    return Case(given, leaves)


def _completions(
    objective: Objective,
    generator: torch.Generator,
    columns: Collection[str],
    token_columns: Collection[str],
) -> _Completions:
    sizes = _sizes(objective, generator)
    group = torch.arange(GROUPS).repeat_interleave(sizes)
    lengths = torch.randint(1, LONGEST + 1, (len(group),), generator=generator)
    lengths[0] = 1  # so that there is always some padding
    mask = torch.arange(LONGEST) < lengths[:, None]
    tokens = torch.randint(1, VOCABULARY, mask.shape, generator=generator) * mask
    data = _columns(objective, group, generator, columns)
    data |= {name: torch.rand(mask.shape, generator=generator) * mask for name in sorted(token_columns)}
    if issubclass(type(objective).data, Stepwise) and not isinstance(objective, OnlineObjective):
        data |= _of_steps(mask, generator)
    prompts = tuple(Prompt([number + 1], f"prompt {number}") for number in range(GROUPS))
    return _Completions(tokens, mask, group, data, prompts)


def _arranged(objective: Objective, drawn: _Completions) -> _Completions:
    """Return what the objective's `arrange` makes of the completions."""
    groups = []
    for number, prompt in enumerate(drawn.prompts):
        places = (drawn.group == number).nonzero().squeeze(1).tolist()
        own = {name: tuple(values[place] for place in places) for name, values in drawn.columns.items()}
        columns = {
            name: tuple(
                value.item() if value.ndim == 0 else tuple(value[drawn.mask[place]].tolist())
                for place, value in zip(places, values, strict=True)
            )
            for name, values in own.items()
        }
        completions = tuple(drawn.tokens[place][drawn.mask[place]].tolist() for place in places)
        groups.append(Group(prompt.tokens, completions, columns, text=prompt.text))
    batch, _ = batch_of(arranged(objective, groups, VOCABULARY))
    return _Completions(batch.tokens, batch.mask, batch.group, dict(batch.columns), tuple(batch.prompts))


def _of_rollouts(
    objective: OnlineObjective, mask: Tensor, group: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return what rollouts have besides the roles' signals. Each source gives its share of a group."""
    parts = {name: torch.randn(len(mask), generator=generator) for name in REWARD_WEIGHTS}
    order = [which for which, count in enumerate(sources_of(objective).values()) for _ in range(count)]
    place = torch.arange(len(group)) - torch.searchsorted(group, group)
    rewards = {
        "rewards": torch.stack([REWARD_WEIGHTS[name] * part for name, part in parts.items()]).sum(0),
        **{f"{REWARD_PART}{name}": part for name, part in parts.items()},
    }
    return {
        **(rewards if objective.rewarded else {}),
        "sampler_logps": -3 * torch.rand(mask.shape, generator=generator) * mask,
        "source": torch.tensor(order)[place % len(order)],
    }


def _spread(rewards: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Return random numbers for the tokens, (N, T) and zero outside the mask, whose rows add up to (N,)."""
    parts = torch.randn(mask.shape, generator=generator) * mask
    return parts + ((rewards - parts.sum(-1)) / mask.sum(-1))[:, None] * mask


def _signals(objective: Objective, mask: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return random signals as at sampling, (N, T) and zero outside the mask, or (N,).

    Other language models are near the policy, as the reference is in training.
    """

    def normal() -> Tensor:
        return torch.randn(mask.shape, generator=generator) * mask

    logps = -3 * torch.rand(mask.shape, generator=generator) * mask
    found = {
        "logps": logps,
        "reference_logps": logps + 0.3 * normal(),
        ENTROPY: (torch.rand(mask.shape, generator=generator) + 0.5) * mask,
        "values": normal(),
        "scores": torch.randn(len(mask), generator=generator),
    }
    for name, role in roles_of(objective).items():
        for signal in signals_of(name, role.kind, entropy=False):
            if signal not in found:
                per_token = normal() if KINDS[role.kind].per_token else None
                near = (
                    logps + 0.3 * per_token
                    if role.kind == "language-model" and per_token is not None
                    else None
                )
                other = per_token if per_token is not None else torch.randn(len(mask), generator=generator)
                found[signal] = other if near is None else near
    for name in objective.over_vocabulary:
        found[name] = torch.rand(mask.shape, generator=generator) * mask
    return found


def _moved(name: str, value: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Return a signal as it is after some training, with gradient."""
    noise = torch.randn(value.shape, generator=generator)
    far = 0.3 if name == "logps" else 0.1
    return (value + far * noise * (mask if value.ndim == 2 else 1)).requires_grad_()


def _sizes(objective: Objective, generator: torch.Generator) -> Tensor:
    """Return the number of completions of each group, (G,)."""
    if isinstance(objective, OnlineObjective):
        # Rewards may abstain, so a prompt can have fewer samples than were drawn.
        most = sum(sources_of(objective).values())
        sizes = torch.randint(1, most + 1, (GROUPS,), generator=generator)
        sizes[0] = most
        return sizes
    sizes = {Demonstrations: (1, 1), Preferences: (2, 4), Labelled: (1, 3), Stepwise: (1, 1)}
    least, most = sizes.get(type(objective).data, (1, 4))
    return torch.randint(least, most + 1, (GROUPS,), generator=generator)


def _columns(
    objective: Objective, group: Tensor, generator: torch.Generator, names: Collection[str]
) -> dict[str, Tensor]:
    """Return the columns of the kind of data and those that the author names, (N,) each."""
    count, data = len(group), type(objective).data
    found = {name: torch.rand(count, generator=generator) + 0.5 for name in sorted(names)}
    of_prompts = found if isinstance(objective, OnlineObjective) else {"weight"} & found.keys()
    for name in of_prompts:
        found[name] = found[name][group]  # one number per prompt
    if isinstance(objective, OnlineObjective):  # of the data's own columns, rollouts have no others
        found["finished"] = (torch.rand(count, generator=generator) < 0.5).float()
        return found
    if issubclass(data, Preferences):
        first = torch.cat([torch.ones(1, dtype=torch.bool), group[1:] != group[:-1]])
        # with ties, but never ties alone
        found["rank"] = torch.where(first, 0, torch.randint(1, 3, (count,), generator=generator)).float()
    if issubclass(data, Labelled):
        found["label"] = (torch.arange(count) % 2).float()
    return found


def _of_steps(mask: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the ends of random steps, the last token of a completion among them, and labels, (N, T)."""
    last = mask & (mask.flip(-1).cumsum(-1).flip(-1) == 1)
    ends = mask & (last | (torch.rand(mask.shape, generator=generator) < 0.4))
    good = torch.rand(mask.shape, generator=generator) < 0.5
    return {STEP_END: ends.float(), "label": (ends & good).float()}


def padded(rollouts: Rollouts, columns: int) -> Rollouts:
    """Return the same completions with more columns of padding."""
    wide = {name: wider(value, columns) for name, value in rollouts.signals.items()}
    return replace(
        rollouts,
        tokens=wider(rollouts.tokens, columns),
        mask=wider(rollouts.mask, columns),
        columns={name: wider(value, columns) for name, value in rollouts.columns.items()},
        signals=wide,
    )


def wider(tensor: Tensor, columns: int) -> Tensor:
    """Return a tensor (N, T) with more columns of zeros, and a tensor (N,) as it is."""
    return pad(tensor, (0, columns)) if tensor.ndim == 2 else tensor
