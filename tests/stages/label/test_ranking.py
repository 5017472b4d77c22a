"""Ranking a group by its scores, with and without noise."""

import math
import random
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from alignkit.stages.label.ranking import rank


def test_without_noise_ranks_follow_the_scores_and_equal_scores_tie():
    assert rank([0.1, 0.9, 0.1, 0.5], 0.0, random.Random(0)) == [2.0, 0.0, 2.0, 1.0]


def test_with_noise_there_are_no_ties():
    assert sorted(rank([1.0] * 6, 0.5, random.Random(0))) == [0, 1, 2, 3, 4, 5]


def test_one_completion_and_none_are_ranked():
    assert rank([3.0], 1.0, random.Random(0)) == [0.0]
    assert rank([], 1.0, random.Random(0)) == []


def test_either_kind_of_generator_serves_and_decides_the_draw():
    for make in (random.Random, np.random.default_rng):
        assert rank([0.0, 0.1, 0.2], 1.0, make(5)) == rank([0.0, 0.1, 0.2], 1.0, make(5))


def test_a_uniform_of_zero_is_no_accident():
    class Zero:
        def random(self):
            return 0.0

    assert rank([2.0, 1.0], 1.0, Zero()) == [0.0, 1.0]


def test_noise_below_zero_is_refused():
    with pytest.raises(ValueError, match="found -1"):
        rank([1.0, 2.0], -1, random.Random(0))


def test_noisy_pairs_follow_bradley_terry():
    scores, noise, draws, rng = [0.3, -0.2, 1.0], 0.7, 20_000, random.Random(1)
    ranks = [rank(scores, noise, rng) for _ in range(draws)]

    for i, j in permutations(range(3), 2):
        expected = 1 / (1 + math.exp(-(scores[i] - scores[j]) / noise))
        frequency = sum(r[i] < r[j] for r in ranks) / draws
        assert frequency == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / draws))


def test_noisy_orders_follow_plackett_luce():
    scores, noise, draws, rng = [0.5, 0.0, -0.5], 1.0, 20_000, np.random.default_rng(2)
    seen = Counter(tuple(np.argsort(rank(scores, noise, rng)).tolist()) for _ in range(draws))

    for order in permutations(range(3)):
        worth = [math.exp(scores[i] / noise) for i in order]
        # The first is chosen from all three by its share of their worth, the second from the two that remain.
        expected = worth[0] / sum(worth) * worth[1] / sum(worth[1:])
        assert seen[order] / draws == pytest.approx(
            expected, abs=4 * math.sqrt(expected * (1 - expected) / draws)
        )
