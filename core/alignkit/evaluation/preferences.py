"""Measures on ranked completions how good a reward model is, and what length alone would get."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Any

from alignkit.evaluation.statistics import bootstrap, calibration, calibration_error, spearman
from alignkit.example import Group
from alignkit.measure import Metric

ACCURACY, LENGTH_ONLY = "accuracy", "length_only_accuracy"
MEASURES = {
    ACCURACY: Metric("accuracy", "share of pairs"),
    LENGTH_ONLY: Metric("accuracy of “the longer wins”", "share of pairs"),
    "calibration_error": Metric("calibration error"),
    "length_correlation": Metric("correlation of reward and length"),
}


def assess_reward_model(
    groups: Sequence[Group], scores: Sequence[Sequence[float]], seed: int
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Return a reward model's line of the table, and its calibration curve.

    scores: those of each group's completions. accuracy: the share of pairs in which the preferred completion
    has the higher score; equal scores count half, and each prompt counts once. length_only_accuracy: the same
    for preferring the longer completion. calibration_error: the model says σ(r_i − r_j) of the side that it
    prefers. length_correlation: Spearman's, of score and length in tokens, each relative to its prompt's
    mean.
    """
    accuracy, length_only, said, right = [], [], [], []
    gaps, lengths = [], []
    for group, values in zip(groups, scores, strict=True):
        size = [len(completion) for completion in group.completions]
        pairs = _ordered_pairs(group)
        wins = [_wins(values[i], values[j]) for i, j in pairs]
        accuracy.append(sum(wins) / len(wins) if wins else None)
        length_only.append(length_only_accuracy([group]))
        said += [1 / (1 + math.exp(-abs(values[i] - values[j]))) for i, j in pairs]
        right += wins
        gaps += [value - sum(values) / len(values) for value in values]
        lengths += [length - sum(size) / len(size) for length in size]
    bins = calibration(said, right)
    table = {
        ACCURACY: bootstrap(accuracy, seed=seed).to_dict(),
        LENGTH_ONLY: bootstrap(length_only, seed=seed).to_dict(),
        "calibration_error": _number(calibration_error(bins), len(said)),
        "length_correlation": _number(spearman(gaps, lengths), len(gaps)),
    }
    return table, [{"predicted": b.predicted, "observed": b.observed, "count": b.count} for b in bins]


def length_only_accuracy(groups: Sequence[Group]) -> float | None:
    """Return the share of pairs whose better completion has more tokens; None without ranks.

    Equal lengths count half, and each prompt counts once.
    """
    shares = []
    for group in groups:
        pairs = _ordered_pairs(group)
        if pairs:
            wins = [_wins(len(group.completions[i]), len(group.completions[j])) for i, j in pairs]
            shares.append(sum(wins) / len(wins))
    return sum(shares) / len(shares) if shares else None


def _ordered_pairs(group: Group) -> list[tuple[int, int]]:
    """Return the places of every better and worse completion of a group."""
    rank = group.columns.get("rank", ())
    return [(i, j) for i, j in permutations(range(len(rank)), 2) if rank[i] < rank[j]]


def _wins(better: float, worse: float) -> float:
    return 1.0 if better > worse else 0.5 if better == worse else 0.0


def _number(value: float | None, count: int) -> dict[str, float | int | None]:
    """Write a number without an interval in the form of one with an interval."""
    return {"mean": value, "low": None, "high": None, "count": count}
