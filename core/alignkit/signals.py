"""Defines the roles and their signals in one table, from which other lists of them are derived."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """One signal that an objective may receive.

    name: how a batch calls it. role: what computes it. per_token: (N, T) where true, (N,) where false.
    declare: what an objective writes to get it. trainable: the role may be trained. headed: the role has a
    scalar head over its adapter. on_request: computed only where the objective asks for it. sampling_only:
    rollouts alone have it.
    """

    name: str
    role: str
    per_token: bool
    declare: str
    trainable: bool = True
    headed: bool = False
    on_request: bool = False
    sampling_only: bool = False


TABLE = (
    Signal("logps", "policy", True, '"policy" in `trains` or `reads`'),
    Signal("entropy", "policy", True, "`entropy = True` beside a policy", on_request=True),
    Signal(
        "old_logps",
        "policy",
        True,
        "an OnlineObjective: only rollouts have a log-probability at sampling",
        sampling_only=True,
    ),
    Signal("reference_logps", "reference", True, '"reference" in `reads`', trainable=False),
    Signal("scores", "reward", False, '"reward" in `trains` or `reads`', headed=True),
    Signal("values", "value", True, '"value" in `trains` or `reads`', headed=True),
)

SIGNALS = {signal.name: signal for signal in TABLE}
ROLES = tuple(dict.fromkeys(signal.role for signal in TABLE))
TRAINABLE = tuple(role for role in ROLES if all(s.trainable for s in TABLE if s.role == role))
HEADED = frozenset(signal.role for signal in TABLE if signal.headed)


def signals_of(role: str, *, entropy: bool) -> tuple[str, ...]:
    """Return the names of what a role computes; the entropy only where it is asked for."""
    return tuple(
        signal.name
        for signal in TABLE
        if signal.role == role and not signal.sampling_only and (entropy or not signal.on_request)
    )
