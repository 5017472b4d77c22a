"""Computes the signals of roles: with gradient for the rows of a micro-batch, or without for many groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from alignkit.data.order import micro_batches
from alignkit.data.rows import Rows
from alignkit.example import Group
from alignkit.models.forward import hidden_states
from alignkit.models.logps import output_head, token_logps
from alignkit.models.roles import Roles
from alignkit.recipe import Training
from alignkit.signals import SIGNALS, signals_of


def forward_budget(micro_batch_tokens: int = Training().micro_batch_tokens) -> int:
    """Return how many tokens one pass without gradient may hold.

    They are twice those of a training micro-batch, because such a pass keeps no activations.
    """
    return 2 * micro_batch_tokens


def role_signals(roles: Roles, name: str, rows: Rows, *, entropy: bool = False) -> dict[str, Tensor]:
    """Return the signals of the role `name` for the rows' batch, by the names in `alignkit.signals`.

    Signals per token are (N, T) and zero outside the mask, signals per completion are (N,). entropy: whether
    a policy's entropy is computed too. Gradients flow to the role's trainable parameters.
    """
    role = roles.roles[name]
    with roles.active(name) as model:
        hidden = hidden_states(model, rows)  # (R·L, H)
    signals = signals_of(role.kind, entropy=entropy)
    if role.head is not None:
        (signal,) = signals
        per_token = SIGNALS[signal].per_token
        at = rows.predicting if per_token else rows.last
        values = role.head(hidden.index_select(0, at).float()).squeeze(-1)  # (M,), or (N,)
        return {signal: rows.scatter(values) if per_token else values}
    targets = rows.batch.tokens.flatten()[rows.slot]  # (M,)
    hidden = hidden.index_select(0, rows.predicting)  # (M, H)
    asked = "entropy" in signals
    logps, entropies = token_logps(hidden, output_head(roles.base.model), targets, entropy=asked)
    computed = (logps, entropies) if asked else (logps,)
    return {signal: rows.scatter(value) for signal, value in zip(signals, computed, strict=True)}


@torch.no_grad()
def compute_signals(
    roles: Roles, groups: Sequence[Group], names: Sequence[str], budget: int, *, entropy: bool = False
) -> dict[str, Tensor]:
    """Return the signals of the roles `names` for all N completions of `groups`, in their order.

    They are on the CPU, in fp32, and as `role_signals` describes them; T is the longest completion of all
    groups. No gradient and no dropout is in effect. Passes hold at most `budget` tokens each, see
    `forward_budget`, or one group where it is larger.
    """
    sizes = [len(group.completions) for group in groups]
    starts = [0, *accumulate(sizes)]  # the place of each group's first completion among all N
    longest = max((len(completion) for group in groups for completion in group.completions), default=0)
    found = {
        signal: torch.zeros((sum(sizes), longest) if SIGNALS[signal].per_token else (sum(sizes),))
        for name in names
        for signal in signals_of(roles.roles[name].kind, entropy=entropy)
    }
    with roles.without_dropout():
        for part in micro_batches(groups, range(len(groups)), budget):
            rows = roles.rows([groups[index] for index in part]).to(roles.base.device)
            places = [place for index in part for place in range(starts[index], starts[index + 1])]
            for name in names:
                for signal, block in role_signals(roles, name, rows, entropy=entropy).items():
                    _write(found[signal], places, block)
    return found


def _write(whole: Tensor, places: list[int], block: Tensor) -> None:
    """Write a micro-batch's values, (n, t) or (n,), into the rows `places` of those of all completions."""
    rows = torch.tensor(places)
    if block.dim() == 1:
        whole[rows] = block.float().cpu()
    else:
        whole[rows, : block.shape[1]] = block.float().cpu()
