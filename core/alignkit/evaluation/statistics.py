"""Computes means with intervals, win rates, rank correlation and calibration from plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean over `count` prompts with its interval. All three are NaN where there was nothing to average."""

    mean: float
    low: float
    high: float
    count: int

    def to_dict(self) -> dict[str, float | int | None]:
        """Return plain values for JSON; NaN, which JSON does not have, becomes None."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Bin:
    """One bin of predicted probability: the mean prediction, the share that came true, the number of
    items.
    """

    predicted: float
    observed: float
    count: int


def bootstrap(
    values: Sequence[float | None], *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Return the mean with its percentile bootstrap interval (Efron, 1979, doi:10.1214/aos/1176344552).

    values: one number per prompt; None and NaN are left out. Prompts are resampled, not completions, because
    several completions of one prompt are not independent.
    """
    kept = np.array([value for value in values if value is not None and not math.isnan(value)], dtype=float)
    count = len(kept)
    if not count:
        return Interval(math.nan, math.nan, math.nan, 0)
    generator = np.random.default_rng(seed)
    means = [kept[generator.integers(0, count, count)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(kept.mean()), float(low), float(high), count)


def bootstrap_ratio(
    totals: Sequence[float], counts: Sequence[int], *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Return Σ totals ÷ Σ counts with its percentile bootstrap interval: a mean per token of many texts.

    totals, counts: of each text, which are resampled together. All counts are above 0.
    """
    values, sizes = np.array(totals, dtype=float), np.array(counts, dtype=float)
    count = len(values)
    if not count:
        return Interval(math.nan, math.nan, math.nan, 0)
    chosen = np.random.default_rng(seed).integers(0, count, (draws, count))
    ratios = values[chosen].sum(1) / sizes[chosen].sum(1)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.sum() / sizes.sum()), float(low), float(high), count)


def win_rate(
    scores: Sequence[Sequence[float | None]], against: Sequence[Sequence[float | None]]
) -> list[float]:
    """Return, for each prompt, the share of pairs of completions, one of each side, that the first side wins.

    A tie counts half. The share is NaN where no pair has two scores. scores, against: the scores of each
    prompt's completions, None where the reward abstained.
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


def spearman(a: Sequence[float | None], b: Sequence[float | None]) -> float | None:
    """Return Spearman's rank correlation, or None where one side is constant.

    Equal values share their average rank. A pair of which one value is None or NaN is left out.
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
    """Return ranks from 1; equal values share the average of their places."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def calibration(probabilities: Sequence[float], outcomes: Sequence[float], bins: int = 10) -> list[Bin]:
    """Compare predictions with what came true, in `bins` bins of equal width over [0, 1].

    Empty bins are left out. outcomes: 1 where the prediction came true, 0 where it did not. For pairs,
    predict the side that the model prefers, or let the data's winner be first as often as second: where it is
    always first, every outcome is 1.
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
    """Return the expected calibration error, Σ count/N · |observed − predicted|; NaN without bins.

    Source: Guo et al., 2017, arXiv:1706.04599, eq. 3.
    """
    total = sum(part.count for part in bins)
    if not total:
        return math.nan
    return sum(part.count * abs(part.observed - part.predicted) for part in bins) / total
