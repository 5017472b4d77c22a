"""The best of several samples, and how far the choice is from the policy."""

import math

import numpy as np
import pytest

from alignkit.rewards.best_of_n import best_of, best_of_divergence


def test_of_each_n_samples_the_one_with_the_highest_score_is_kept():
    assert best_of("abcdef", [0.1, 0.3, 0.2, -5.0, -7.0, -6.0], 3) == ["b", "d"]


def test_of_equal_scores_the_first_is_kept():
    assert best_of("abc", [1.0, 2.0, 2.0], 3) == ["b"]


def test_a_sample_without_a_score_is_kept_only_where_all_are_without():
    assert best_of("abcd", [None, -9.0, None, None], 2) == ["b", "c"]


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_the_best_of_n_distinct_scores_lies_where_the_known_formula_says(n):
    scores = np.random.default_rng(n).permutation(40).tolist()
    assert best_of_divergence(scores, n) == pytest.approx(math.log(n) - (n - 1) / n, abs=1e-12)


@pytest.mark.parametrize("value", [0.5, None])
def test_the_best_of_equal_scores_is_any_sample(value):
    assert best_of_divergence([value] * 16, 16) == pytest.approx(0, abs=1e-12)


def test_the_best_of_n_of_a_coarse_reward_is_nearer_than_of_a_fine_one():
    # Right with probability ¼: the best of 2 is wrong with probability 9/16.
    expected = 9 / 16 * math.log((9 / 16) / (3 / 4)) + 7 / 16 * math.log((7 / 16) / (1 / 4))
    assert best_of_divergence([0.0] * 30 + [1.0] * 10, 2) == pytest.approx(expected)
    assert expected < math.log(2) - 1 / 2


def test_the_divergence_of_the_best_is_that_of_its_distribution(rng):
    levels = np.array([0.1, 0.2, 0.3, 0.4])
    scores = [float(level) for level in range(4) for _ in range(round(levels[level] * 50))]
    below = np.cumsum(levels) - levels
    best = (below + levels) ** 5 - below**5  # that the highest of 5 is of this level
    assert best_of_divergence(rng.sample(scores, len(scores)), 5) == pytest.approx(
        float((best * np.log(best / levels)).sum())
    )
