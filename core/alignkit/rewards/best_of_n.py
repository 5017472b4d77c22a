"""Chooses the best of n samples by their scores, and says how far the choice moves from the policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TypeVar

T = TypeVar("T")


def best_of(samples: Sequence[T], scores: Sequence[float | None], n: int) -> list[T]:
    """Return, of each `n` samples in turn, the sample with the highest score; see `best_places`."""
    return [samples[place] for place in best_places(scores, n)]


def best_places(scores: Sequence[float | None], n: int) -> list[int]:
    """Return, of each `n` scores in turn, the place of the highest.

    It is the first of equal scores, and the first of all where the reward abstained from all.
    """
    return [
        max(range(start, start + n), key=lambda place: (_or_lowest(scores[place]), -place))
        for start in range(0, len(scores), n)
    ]


def _or_lowest(score: float | None) -> float:
    return -math.inf if score is None else score


def best_of_divergence(scores: Sequence[float | None], n: int) -> float:
    """Return the KL divergence, in nats, between the best of n samples of π and π itself.

    scores: those of samples of π, which stand for the distribution of scores under π. Where no two of them
    are equal the divergence is log n − (n − 1)/n (Stiennon et al., 2020, arXiv:2009.01325): the rank u of the
    best sample among all, in [0, 1], has the density n·uⁿ⁻¹. The choice does not tell equal scores apart. So
    over their ranks, from a to b, the density is its mean, (bⁿ − aⁿ)/(b − a). An abstention is a score below
    all others, as in `best_of`.
    """
    ranked = sorted(-math.inf if score is None else score for score in scores)
    divergence = start = 0.0
    for _, equal in groupby(ranked):
        count = len(list(equal))
        end = start + count / len(ranked)
        share = end**n - start**n
        if count == 1:
            divergence += _surprise(end, n) - _surprise(start, n)
        elif share > 0:
            divergence += share * math.log(share / (end - start))
        start = end
    return divergence


def _surprise(u: float, n: int) -> float:
    """Return the integral of n·vⁿ⁻¹·log(n·vⁿ⁻¹) over v from 0 to u."""
    return u**n * (math.log(n) + (n - 1) * (math.log(u) - 1 / n)) if u > 0 else 0.0
