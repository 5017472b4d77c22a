"""Means with intervals, win rates, rank correlation and calibration: pure functions over plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean over `count` prompts with its interval; NaN everywhere where there was nothing to average."""

    mean: float
    low: float
    high: float
    count: int

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain values for JSON, which has no NaN: null instead."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Bin:
    """The items of one bin of predicted probability: their mean prediction, the share that came true, and how
    many they are.
    """

    predicted: float
    observed: float
    count: int


def bootstrap(
    values: Sequence[float | None], *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> Interval:
    """The mean with its percentile bootstrap interval (Efron, 1979, doi:10.1214/aos/1176344552). None and NaN
    are left out.

    values: one number a prompt, because prompts are what is resampled: several completions of a prompt are
    not independent.
    """
    kept = np.array([value for value in values if value is not None and not math.isnan(value)], dtype=float)
    count = len(kept)
    if not count:
        return Interval(math.nan, math.nan, math.nan, 0)
    generator = np.random.default_rng(seed)
    means = [kept[generator.integers(0, count, count)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(kept.mean()), float(low), float(high), count)


def win_rate(
    scores: Sequence[Sequence[float | None]], against: Sequence[Sequence[float | None]]
) -> list[float]:
    """Of each prompt, the share of pairs (one completion of each side) won, ties counting half; NaN where no
    pair has two scores.

    scores, against: of each prompt, the scores of its completions; None where the reward abstained.
    """
    rates = []
    for ours, theirs in zip(scores, against, strict=True):
        results = [
            1.0 if a > b else 0.5 if a == b else 0.0
            for a in ours
            if a is not None
            for b in theirs
            if b is not None
        ]
        rates.append(sum(results) / len(results) if results else math.nan)
    return rates


def best_of_divergence(scores: Sequence[float | None], n: int) -> float:
    """KL, in nats, between the best of n samples of π and π itself, whose scores are distributed as `scores`,
    of samples of π.

    It is log n − (n − 1)/n where no two scores are equal (Stiennon et al., 2020, arXiv:2009.01325): the best
    one's rank u among all, in [0, 1], has the density n·uⁿ⁻¹. Equal scores are not told apart by the choice,
    so over their ranks a to b the density is its mean, (bⁿ − aⁿ)/(b − a). An abstention is a score below all
    others, as in the choice.
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
    """∫ n·vⁿ⁻¹·log(n·vⁿ⁻¹) dv from 0 to u."""
    return u**n * (math.log(n) + (n - 1) * (math.log(u) - 1 / n)) if u > 0 else 0.0


def spearman(a: Sequence[float | None], b: Sequence[float | None]) -> float | None:
    """Spearman's rank correlation, tied values sharing their average rank; None where one side is constant.

    A pair of which one is None or NaN is left out.
    """
    pairs = [
        (x, y)
        for x, y in zip(a, b, strict=True)
        if x is not None and y is not None and not math.isnan(x) and not math.isnan(y)
    ]
    if not pairs:
        return None
    columns = np.array(pairs, dtype=float)
    first, second = _ranks(columns[:, 0]), _ranks(columns[:, 1])
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale else None


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the average of their places."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def calibration(probabilities: Sequence[float], outcomes: Sequence[float], bins: int = 10) -> list[Bin]:
    """Predictions and what came true, in `bins` bins of equal width over [0, 1]; empty bins are left out.

    outcomes: 1 where it came true, 0 where not. For pairs, predict the side that is preferred by the model,
    or let the data's winner be first as often as second: where it is always first, every outcome is 1.
    """
    if len(probabilities) != len(outcomes):
        raise ValueError(f"{len(probabilities)} probabilities and {len(outcomes)} outcomes")
    predicted, observed = np.asarray(probabilities, dtype=float), np.asarray(outcomes, dtype=float)
    if not np.all((predicted >= 0) & (predicted <= 1)):
        raise ValueError("a probability lies between 0 and 1")
    number = np.minimum((predicted * bins).astype(int), bins - 1)
    chosen = [number == index for index in range(bins)]
    return [
        Bin(float(predicted[inside].mean()), float(observed[inside].mean()), int(inside.sum()))
        for inside in chosen
        if inside.any()
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error (Guo et al., 2017, arXiv:1706.04599, eq. 3): Σ count/N · |observed −
    predicted|; NaN without bins.
    """
    total = sum(part.count for part in bins)
    return (
        sum(part.count * abs(part.observed - part.predicted) for part in bins) / total if total else math.nan
    )
