"""How good a reward model is on held-out preferences, and whether it has learnt a shortcut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Any

from alignkit.data.baselines import length_only_accuracy
from alignkit.evaluation.statistics import bootstrap, calibration, calibration_error, spearman
from alignkit.example import Group


def judge(
    groups: Sequence[Group], scores: Sequence[Sequence[float]], seed: int
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """A reward model's line of the table, and its calibration curve. scores: of each group's completions.

    accuracy: share of pairs in which the preferred completion scores higher (equal scores count half), each
    prompt once. length_only_accuracy: of preferring the longer one. calibration_error: the model says σ(r_i −
    r_j) of the side it prefers. length_correlation: Spearman's, of score and length in tokens within each
    prompt's completions, over all of them.
    """
    accuracy, length_only, said, right = [], [], [], []
    gaps, lengths = [], []
    for group, values in zip(groups, scores, strict=True):
        rank, size = group.columns["rank"], [len(completion) for completion in group.completions]
        pairs = [(i, j) for i, j in permutations(range(len(rank)), 2) if rank[i] < rank[j]]
        wins = [1.0 if values[i] > values[j] else 0.5 if values[i] == values[j] else 0.0 for i, j in pairs]
        accuracy.append(sum(wins) / len(wins) if wins else None)
        length_only.append(length_only_accuracy([group]))
        said += [1 / (1 + math.exp(-abs(values[i] - values[j]))) for i, j in pairs]
        right += wins
        gaps += [value - sum(values) / len(values) for value in values]
        lengths += [length - sum(size) / len(size) for length in size]
    bins = calibration(said, right)
    correlation = spearman(gaps, lengths)
    table = {
        "accuracy": bootstrap(accuracy, seed=seed).to_dict(),
        "length_only_accuracy": bootstrap(length_only, seed=seed).to_dict(),
        "calibration_error": _number(calibration_error(bins), len(said)),
        "length_correlation": _number(correlation, len(gaps)),
    }
    return table, [{"predicted": b.predicted, "observed": b.observed, "count": b.count} for b in bins]


def _number(value: float | None, count: int) -> dict[str, float | int | None]:
    """A number without an interval, in the form of one."""
    return {"mean": value, "low": None, "high": None, "count": count}
