"""Chooses the best of n samples by their scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def best_of(samples: Sequence[T], scores: Sequence[float | None], n: int) -> list[T]:
    """Of each `n` samples in turn the one with the highest score; the first of equals, and where the reward
    has no opinion of any.
    """
    kept = []
    for start in range(0, len(samples), n):
        window = range(start, start + n)
        kept.append(
            samples[max(window, key=lambda k: (-math.inf if (value := scores[k]) is None else value, -k))]
        )
    return kept
