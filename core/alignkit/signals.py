"""Defines what a role is and which signals it gives, in one table from which other lists are derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

KindName = Literal["language-model", "reward", "value"]


@dataclass(frozen=True)
class Kind:
    """What a kind of role computes.

    signal: how the signal of a role of this kind is called, after the role's name. per_token: it is (N, T)
    where true, (N,) where false. headed: the role has a scalar head over its adapter.
    """

    signal: str
    per_token: bool
    headed: bool


KINDS: Mapping[str, Kind] = {
    "language-model": Kind("logps", per_token=True, headed=False),
    "reward": Kind("scores", per_token=False, headed=True),
    "value": Kind("values", per_token=True, headed=True),
}


@dataclass(frozen=True)
class Role:
    """A role that an objective declares in `roles`.

    kind: `language-model` gives NAME_logps, (N, T); `reward` gives NAME_scores, (N,); `value` gives
    NAME_values, (N, T), at each token the value of what stands before it. shares: the role whose adapter this
    one uses, so that both are computed in one forward pass; None means that it has an adapter of its own.
    follows: the trained role after which this one moves; a recipe has to say how fast, and None leaves it to
    the recipe whether it moves at all.
    """

    kind: KindName
    shares: str | None = None
    follows: str | None = None


POLICY, REFERENCE = "policy", "reference"

BUILT_IN: Mapping[str, Role] = {
    POLICY: Role("language-model"),
    REFERENCE: Role("language-model"),
    "reward": Role("reward"),
    "value": Role("value"),
}
"""The roles that need no declaration."""

SHORT = {POLICY: "logps", "reward": "scores", "value": "values"}
"""Roles whose signal is called without the role's name."""

ENTROPY, OLD_LOGPS = "entropy", "old_logps"
"""The policy's entropy, which is computed on request, and its log-probabilities at sampling."""

STEP_END = "step_end"
"""What is 1 at the last token of each step of a completion, and 0 elsewhere, (N, T)."""


def signal_name(role: str, kind: str) -> str:
    """Return the name of a role's signal."""
    return SHORT.get(role, f"{role}_{KINDS[kind].signal}")


BUILT_IN_SIGNALS = frozenset(
    {ENTROPY, OLD_LOGPS, *(signal_name(name, role.kind) for name, role in BUILT_IN.items())}
)
"""The names of the signals of roles that need no declaration."""


def signals_of(role: str, kind: str, *, entropy: bool) -> tuple[str, ...]:
    """Return the names of what a role computes; the policy's entropy only where it is asked for."""
    asked = (ENTROPY,) if entropy and role == POLICY else ()
    return (signal_name(role, kind), *asked)


def how_to_declare(signal: str) -> str | None:
    """Return what an objective declares to receive a signal; None where no role gives such a signal."""
    if signal == ENTROPY:
        return "`entropy = True` beside a policy"
    if signal == OLD_LOGPS:
        return "an OnlineObjective: only rollouts have a log-probability at sampling"
    if signal == STEP_END:
        return "`data = Stepwise`, or `step_separator` in an OnlineObjective"
    for name, role in BUILT_IN.items():
        if signal == signal_name(name, role.kind):
            return f'"{name}" in ' + ("`reads`" if name == REFERENCE else "`trains` or `reads`")
    name, _, ending = signal.rpartition("_")
    kind = next((kind for kind, known in KINDS.items() if known.signal == ending), None)
    if not name or kind is None or name in SHORT:
        return None
    return f'`roles = {{"{name}": "{kind}"}}`, and "{name}" in `trains` or `reads`'
