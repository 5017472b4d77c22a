"""Computes the signals of roles: with gradient for the rows of a micro-batch, or without for many groups."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from alignkit.data.order import micro_batches
from alignkit.data.rows import Rows
from alignkit.example import Group
from alignkit.models.forward import hidden_states
from alignkit.models.logps import output_head, token_logps
from alignkit.models.roles import Roles
from alignkit.models.vocabulary import Functions, over_vocabulary
from alignkit.objective import roles_of_functions
from alignkit.progress import Progress
from alignkit.recipe import Training
from alignkit.signals import KINDS, signals_of


def forward_budget(micro_batch_tokens: int = Training().micro_batch_tokens) -> int:
    """Return how many tokens one pass without gradient may hold.

    They are twice those of a training micro-batch, because such a pass keeps no activations.
    """
    return 2 * micro_batch_tokens


def role_signals(
    roles: Roles,
    names: str | Sequence[str],
    rows: Rows,
    *,
    entropy: bool = False,
    functions: Functions | None = None,
    trained: Collection[str] | None = None,
) -> dict[str, Tensor]:
    """Return the signals of the roles `names` for the rows' batch, by the names in `alignkit.signals`.

    Signals per token are (N, T) and zero outside the mask, signals per completion are (N,). Roles that share
    an adapter and a prompt are computed in one forward pass. entropy: whether the policy's entropy is
    computed too. functions: those of `over_vocabulary`, whose numbers, (N, T), are returned by their names;
    their roles are computed as far as they need it. Gradients flow to the parameters of the roles that are
    trainable; where `trained` is given, only through the signals of the roles that it names.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    seen = roles_of_functions(functions or {})
    learns = {
        name: role.trainable and (trained is None or name in trained) for name, role in roles.roles.items()
    }
    found: dict[str, Tensor] = {}
    predicting: dict[str, Tensor] = {}  # hidden states that predict a completion token, (M, H), by role
    for together in _passes(roles, [*wanted, *sorted(seen - set(wanted))]):
        laid = _rows_of(roles, together[0], rows)
        with _gradient(any(learns[name] for name in together)), roles.active(together[0]) as model:
            hidden = hidden_states(model, laid)  # (R·L, H)
        for name in together:
            with _gradient(learns[name]):  # a role that is only read may share the adapter of a trained one
                if name in seen or not KINDS[roles.roles[name].kind].headed:
                    predicting[name] = hidden.index_select(0, laid.predicting)
                if name in wanted:
                    found |= _signals(roles, name, laid, hidden, predicting.get(name), entropy=entropy)
    if functions:
        head = output_head(roles.base.model)
        values = over_vocabulary(functions, {name: predicting[name] for name in seen}, head)
        found |= {name: rows.scatter(value) for name, value in values.items()}
    return found


def _gradient(wanted: bool) -> torch.set_grad_enabled:
    """Record gradients where they are wanted and not switched off already."""
    return torch.set_grad_enabled(wanted and torch.is_grad_enabled())


@dataclass(frozen=True)
class _Pass:
    """What one forward pass computes with: an adapter, and the prompt after which completions are read."""

    adapter: str | None
    prompt: str | None


def _passes(roles: Roles, names: Sequence[str]) -> list[list[str]]:
    """Put the roles together that one forward pass serves."""
    found: dict[_Pass, list[str]] = {}
    for name in names:
        role = roles.roles[name]
        found.setdefault(_Pass(role.adapter, role.prompt), []).append(name)
    return list(found.values())


def _rows_of(roles: Roles, name: str, rows: Rows) -> Rows:
    prompt = roles.roles[name].prompt
    return rows if prompt is None else rows.under[prompt]


def _signals(
    roles: Roles, name: str, rows: Rows, hidden: Tensor, predicting: Tensor | None, *, entropy: bool
) -> dict[str, Tensor]:
    """Return a role's signals. hidden (R·L, H); predicting (M, H) for a language model."""
    role = roles.roles[name]
    signals = signals_of(name, role.kind, entropy=entropy)
    if role.head is not None:
        (signal,) = signals
        per_token = KINDS[role.kind].per_token
        at = rows.predicting if per_token else rows.last
        values = role.head(hidden.index_select(0, at).float()).squeeze(-1)  # (M,), or (N,)
        return {signal: rows.scatter(values) if per_token else values}
    assert predicting is not None
    targets = rows.batch.tokens.flatten()[rows.slot]  # (M,)
    asked = len(signals) > 1
    logps, entropies = token_logps(predicting, output_head(roles.base.model), targets, entropy=asked)
    return {
        signal: rows.scatter(value)
        for signal, value in zip(signals, (logps, entropies)[: 1 + asked], strict=True)
    }


@torch.no_grad()
def compute_signals(
    roles: Roles,
    groups: Sequence[Group],
    names: Sequence[str],
    budget: int,
    *,
    entropy: bool = False,
    functions: Functions | None = None,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Return the signals of the roles `names` for all N completions of `groups`, in their order.

    They are on the CPU, in fp32, and as `role_signals` describes them; T is the longest completion of all
    groups. No gradient and no dropout is in effect. Passes hold at most `budget` tokens each, see
    `forward_budget`, or one group where it is larger. progress: counts groups.
    """
    sizes = [len(group.completions) for group in groups]
    starts = [0, *accumulate(sizes)]  # the place of each group's first completion among all N
    longest = max((len(completion) for group in groups for completion in group.completions), default=0)
    found = {
        signal: torch.zeros((sum(sizes), longest) if KINDS[kind].per_token else (sum(sizes),))
        for name, kind in ((name, roles.roles[name].kind) for name in names)
        for signal in signals_of(name, kind, entropy=entropy)
    }
    found |= {name: torch.zeros(sum(sizes), longest) for name in functions or {}}
    done = 0
    with roles.without_dropout():
        for part in micro_batches(groups, range(len(groups)), budget):
            chosen = [groups[index] for index in part]
            rows = roles.rows(chosen, {*names, *roles_of_functions(functions or {})}).to(roles.base.device)
            places = [place for index in part for place in range(starts[index], starts[index + 1])]
            computed = role_signals(roles, names, rows, entropy=entropy, functions=functions)
            for signal, block in computed.items():
                _write(found[signal], places, block)
            done += len(part)
            if progress is not None:
                progress(done, len(groups))
    return found


def _write(whole: Tensor, places: list[int], block: Tensor) -> None:
    """Write a micro-batch's values, (n, t) or (n,), into the rows `places` of those of all completions."""
    rows = torch.tensor(places)
    if block.dim() == 1:
        whole[rows] = block.float().cpu()
    else:
        whole[rows, : block.shape[1]] = block.float().cpu()
