"""A reward model's figures, against numbers worked out by hand on a few small groups."""

import json
import math

import pytest

from alignkit import Group
from alignkit.evaluation.preferences import assess_reward_model


def group(*completions):
    """Completions as (rank, tokens)."""
    return Group(
        [1],
        tuple([2] * size for _, size in completions),
        {"rank": tuple(float(rank) for rank, _ in completions)},
    )


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# Three prompts: a pair told rightly, a pair told wrongly, and three completions of which the last two
# tie.
GROUPS = [group((0, 5), (1, 3)), group((0, 2), (1, 6)), group((0, 4), (1, 4), (1, 2))]
SCORES = [[1.0, -1.0], [0.0, 0.5], [2.0, 2.0, 0.0]]


def test_accuracy_counts_each_prompt_once_and_equal_scores_half():
    table, _ = assess_reward_model(GROUPS, SCORES, 0)
    # 1 of 1; 0 of 1; of two pairs one tied and one won: ¾.
    assert table["accuracy"]["mean"] == pytest.approx((1 + 0 + 0.75) / 3)
    assert table["accuracy"]["count"] == 3


def test_the_length_only_accuracy_is_of_preferring_the_longer():
    table, _ = assess_reward_model(GROUPS, SCORES, 0)
    # 5 > 3: 1; 2 < 6: 0; 4 = 4 and 4 > 2: ¾. The scores have no part in it.
    assert table["length_only_accuracy"]["mean"] == pytest.approx((1 + 0 + 0.75) / 3)
    assert (
        assess_reward_model(GROUPS, [[0.0] * len(values) for values in SCORES], 0)[0]["length_only_accuracy"]
        == table["length_only_accuracy"]
    )


def test_calibration_compares_what_was_said_of_the_preferred_side_with_what_was_right():
    table, curve = assess_reward_model(GROUPS, SCORES, 0)
    # Pairs: said σ(2) and right; said σ(½) and wrong; said ½ and half right; said σ(2) and right. Bins of a
    # tenth: 0.88, 0.62, 0.5.
    assert curve == [
        {"predicted": 0.5, "observed": 0.5, "count": 1},
        {"predicted": pytest.approx(sigmoid(0.5)), "observed": 0.0, "count": 1},
        {"predicted": pytest.approx(sigmoid(2)), "observed": 1.0, "count": 2},
    ]
    expected = (1 * 0 + 1 * sigmoid(0.5) + 2 * (1 - sigmoid(2))) / 4
    assert table["calibration_error"] == {
        "mean": pytest.approx(expected),
        "low": None,
        "high": None,
        "count": 4,
    }


def test_the_length_correlation_is_of_ranks_within_prompts():
    # Lengths less their prompt's mean: ±1, ∓2, ⅔ ⅔ −4/3. Scores less theirs: 1 −1, −¼ ¼, ⅔ ⅔ −4/3.
    table, _ = assess_reward_model(GROUPS, SCORES, 0)
    gaps = [1, -1, -0.25, 0.25, 2 / 3, 2 / 3, -4 / 3]
    sizes = [1, -1, -2, 2, 2 / 3, 2 / 3, -4 / 3]
    # Ranks by hand, ties sharing the mean: gaps 7 2 3 4 5.5 5.5 1; sizes 6 3 1 7 4.5 4.5 2.
    assert sorted(range(7), key=gaps.__getitem__)[0] == 6
    assert sorted(range(7), key=sizes.__getitem__)[0] == 2
    first, second = [7, 2, 3, 4, 5.5, 5.5, 1], [6, 3, 1, 7, 4.5, 4.5, 2]
    covariance = sum((a - 4) * (b - 4) for a, b in zip(first, second, strict=True))
    spread = sum((a - 4) ** 2 for a in first)
    assert spread == sum((b - 4) ** 2 for b in second)
    assert table["length_correlation"]["mean"] == pytest.approx(covariance / spread)
    assert table["length_correlation"]["count"] == 7


def test_a_reward_that_is_the_length_correlates_wholly_whatever_the_prompts_levels():
    scores = [[100.0 * number + size for size in map(len, g.completions)] for number, g in enumerate(GROUPS)]
    table, _ = assess_reward_model(GROUPS, scores, 0)
    assert table["length_correlation"]["mean"] == pytest.approx(1)
    assert table["accuracy"]["mean"] == table["length_only_accuracy"]["mean"]


def test_an_indifferent_model_is_half_right_calibrated_and_uncorrelated():
    table, curve = assess_reward_model(GROUPS, [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0, 0.0]], 0)
    assert table["accuracy"]["mean"] == 0.5
    assert table["calibration_error"]["mean"] == 0
    assert table["length_correlation"]["mean"] is None
    assert curve == [{"predicted": 0.5, "observed": 0.5, "count": 4}]
    json.dumps(table, allow_nan=False)


def test_scores_far_apart_are_a_probability_of_one():
    table, curve = assess_reward_model([group((0, 1), (1, 1))], [[2000.0, -2000.0]], 0)
    assert curve == [{"predicted": 1.0, "observed": 1.0, "count": 1}]
    assert table["calibration_error"]["mean"] == 0
