"""Measures on ranked completions how good a reward model is, and what length alone would get."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import permutations

from alignkit.evaluation.statistics import calibration, calibration_error, over_seeds, spearman
from alignkit.example import Group
from alignkit.measure import Metric

ACCURACY, LENGTH_ONLY = "accuracy", "length_only_accuracy"
MEASURES = {
    ACCURACY: Metric("accuracy", "share of pairs"),
    LENGTH_ONLY: Metric("accuracy of “the longer wins”", "share of pairs"),
    "calibration_error": Metric("calibration error"),
    "length_correlation": Metric("correlation of reward and length"),
}


@dataclass(frozen=True)
class Assessment:
    """What a reward model's scores say of ranked completions.

    accuracy: for each prompt the share of pairs in which the preferred completion has the higher score; equal
    scores count half. length_only: the same for preferring the longer completion. said, right: for each pair
    the probability σ(r_i − r_j) of the side that the model prefers, and whether it is the preferred one.
    gaps, lengths: score and length in tokens of each completion, relative to its prompt's mean.
    """

    accuracy: list[float | None]
    length_only: list[float | None]
    said: list[float]
    right: list[float]
    gaps: list[float]
    lengths: list[float]


def assess_reward_model(groups: Sequence[Group], scores: Sequence[Sequence[float]]) -> Assessment:
    """Compare scores with ranks. scores: those of each group's completions."""
    found = Assessment([], [], [], [], [], [])
    for group, values in zip(groups, scores, strict=True):
        size = [len(completion) for completion in group.completions]
        pairs = _ordered_pairs(group)
        wins = [_wins(values[i], values[j]) for i, j in pairs]
        found.accuracy.append(sum(wins) / len(wins) if wins else None)
        found.length_only.append(length_only_accuracy([group]))
        found.said.extend(1 / (1 + math.exp(-abs(values[i] - values[j]))) for i, j in pairs)
        found.right.extend(wins)
        found.gaps.extend(value - sum(values) / len(values) for value in values)
        found.lengths.extend(length - sum(size) / len(size) for length in size)
    return found


def table_row(seeds: Sequence[Assessment], seed: int) -> dict[str, dict[str, float | int | None]]:
    """Return a reward model's line of the table; of a model with several seeds the means over them.

    seed: that of the bootstrap. Accuracies have intervals, and each prompt counts once. The correlation is
    Spearman's, of score and length. Correlation and calibration error have no interval.
    """
    errors = [calibration_error(calibration(one.said, one.right)) for one in seeds]
    correlations = [spearman(one.gaps, one.lengths) for one in seeds]
    return {
        ACCURACY: over_seeds([one.accuracy for one in seeds], seed=seed).to_dict(),
        LENGTH_ONLY: over_seeds([one.length_only for one in seeds], seed=seed).to_dict(),
        "calibration_error": _number(errors, len(seeds[0].said)),
        "length_correlation": _number(correlations, len(seeds[0].gaps)),
    }


def calibration_curve(seeds: Sequence[Assessment]) -> list[dict[str, float]]:
    """Return the calibration curve of a reward model, over the pairs of all its seeds."""
    said = [value for one in seeds for value in one.said]
    right = [value for one in seeds for value in one.right]
    return [asdict(part) for part in calibration(said, right)]


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


def _number(values: Sequence[float | None], count: int) -> dict[str, float | int | None]:
    """Write the mean of numbers without an interval in the form of one with an interval."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    mean = sum(known) / len(known) if known else None
    return {"mean": mean, "low": None, "high": None, "count": count}
