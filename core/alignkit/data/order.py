"""Which groups an optimizer step sees, and how they are cut into micro-batches: functions of (seed, step)
alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from alignkit.example import Group


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, count: int) -> tuple[int, ...]:
    """A permutation of range(count)."""
    return tuple(np.random.default_rng([seed, epoch]).permutation(count).tolist())


def step_indices(seed: int, step: int, count: int, batch_size: int) -> list[int]:
    """The groups of optimizer step `step` (from 0); an epoch's last batch may be smaller."""
    epoch, place = divmod(step, steps_per_epoch(count, batch_size))
    return list(epoch_order(seed, epoch, count)[place * batch_size : (place + 1) * batch_size])


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Optimizer steps that show each of `count` groups once."""
    return math.ceil(count / batch_size)


def micro_batches(groups: Sequence[Group], indices: Sequence[int], budget: int) -> list[list[int]]:
    """`indices` in parts of at most `budget` tree tokens each (one group at least), longest groups first."""
    parts: list[list[int]] = []
    room = 0
    for index in sorted(indices, key=lambda i: (-groups[i].tokens, i)):
        size = groups[index].tokens
        if not parts or size > room:
            parts.append([])
            room = max(budget, size)
        parts[-1].append(index)
        room -= size
    return parts
