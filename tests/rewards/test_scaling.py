"""Weights and standardization of a reward, of sums and at tokens."""

import pytest

from alignkit.rewards.given import PerToken
from alignkit.rewards.scaling import Scale

SUMS = [[1.0, 5.0], [None, 3.0]]
# mean 3, variance (4 + 4 + 0) ÷ 3
DEVIATION = (8 / 3) ** 0.5


def at(scale, given, count):
    return scale.at_tokens(given, [7] * count, lambda ids: "x" * len(ids))


def test_without_standardization_only_the_weight_counts():
    scale = Scale.of(-2, SUMS, standardize=False)
    assert (scale.of_sum(5.0), scale.of_sum(None)) == (-10, None)
    assert at(scale, PerToken((1, 4)), 2) == [-2, -8]


def test_the_mean_of_the_sums_leaves_at_the_last_token():
    scale = Scale.of(0.5, SUMS, standardize=True)
    assert scale.of_sum(5.0) == pytest.approx(0.5 * 2 / DEVIATION)
    expected = [0.5 * 4 / DEVIATION, 0.5 * (1 - 3) / DEVIATION]
    assert at(scale, PerToken((4, 1)), 2) == pytest.approx(expected)


def test_equal_sums_become_0_at_every_token():
    scale = Scale.of(1, [[2.0, 2.0]], standardize=True)
    assert scale.of_sum(2.0) == 0
    assert at(scale, PerToken((-1, 3)), 2) == [0, 0]


def test_a_reward_that_abstains_from_everything_has_no_mean():
    assert Scale.of(1, [[None]], standardize=True) == Scale(1)
