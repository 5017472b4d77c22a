"""Decides which groups an optimizer step sees, and how they are cut into micro-batches.

All of it is a function of the seed and the step, so that a resumed run sees what an unbroken one sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from alignkit.example import Group


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, count: int) -> tuple[int, ...]:
    """Return a permutation of range(count), a function of the seed and the epoch."""
    return tuple(np.random.default_rng([seed, epoch]).permutation(count).tolist())


def step_indices(seed: int, step: int, count: int, batch_size: int) -> list[int]:
    """Return the groups of optimizer step `step`, from 0. An epoch's last batch may be smaller."""
    epoch, place = divmod(step, steps_per_epoch(count, batch_size))
    return list(epoch_order(seed, epoch, count)[place * batch_size : (place + 1) * batch_size])


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Return how many optimizer steps use each of `count` groups once."""
    return math.ceil(count / batch_size)


def micro_batches(groups: Sequence[Group], indices: Sequence[int], budget: int) -> list[list[int]]:
    """Cut `indices` into parts of at most `budget` tree tokens each, with the longest groups first.

    A group that is larger than `budget` is a part by itself.
    """
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
