"""A reward model's figures, against numbers worked out by hand on a few small groups."""

import json
import math

import pytest

from alignkit import Group
from alignkit.evaluation.preferences import assess_reward_model, calibration_curve, table_row


def group(*completions):
    """Completions as (rank, tokens)."""
    return Group(
        [1],
        tuple([2] * size for _, size in completions),
        {"rank": tuple(float(rank) for rank, _ in completions)},
    )


def assess(groups, scores):
    """The row of the table and the calibration curve."""
    found = assess_reward_model(groups, scores)
    return table_row([found], 0), calibration_curve([found])


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# Three prompts: a pair told rightly, a pair told wrongly, and three completions of which the last two
# tie.
GROUPS = [group((0, 5), (1, 3)), group((0, 2), (1, 6)), group((0, 4), (1, 4), (1, 2))]
SCORES = [[1.0, -1.0], [0.0, 0.5], [2.0, 2.0, 0.0]]


def test_accuracy_counts_each_prompt_once_and_equal_scores_half():
    table, _ = assess(GROUPS, SCORES)
    # 1 of 1; 0 of 1; of two pairs one tied and one won: ¾.
    assert table["accuracy"]["mean"] == pytest.approx((1 + 0 + 0.75) / 3)
    assert table["accuracy"]["count"] == 3


def test_the_length_only_accuracy_is_of_preferring_the_longer():
    table, _ = assess(GROUPS, SCORES)
    # 5 > 3: 1; 2 < 6: 0; 4 = 4 and 4 > 2: ¾. The scores have no part in it.
    assert table["length_only_accuracy"]["mean"] == pytest.approx((1 + 0 + 0.75) / 3)
    assert (
        assess(GROUPS, [[0.0] * len(values) for values in SCORES])[0]["length_only_accuracy"]
        == table["length_only_accuracy"]
    )


def test_calibration_compares_what_was_said_of_the_preferred_side_with_what_was_right():
    table, curve = assess(GROUPS, SCORES)
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
    table, _ = assess(GROUPS, SCORES)
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
    table, _ = assess(GROUPS, scores)
    assert table["length_correlation"]["mean"] == pytest.approx(1)
    assert table["accuracy"]["mean"] == table["length_only_accuracy"]["mean"]


def test_an_indifferent_model_is_half_right_calibrated_and_uncorrelated():
    table, curve = assess(GROUPS, [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0, 0.0]])
    assert table["accuracy"]["mean"] == 0.5
    assert table["calibration_error"]["mean"] == 0
    assert table["length_correlation"]["mean"] is None
    assert curve == [{"predicted": 0.5, "observed": 0.5, "count": 4}]
    json.dumps(table, allow_nan=False)


def test_scores_far_apart_are_a_probability_of_one():
    table, curve = assess([group((0, 1), (1, 1))], [[2000.0, -2000.0]])
    assert curve == [{"predicted": 1.0, "observed": 1.0, "count": 1}]
    assert table["calibration_error"]["mean"] == 0


def test_of_several_seeds_the_row_holds_the_means_and_the_curve_all_pairs():
    seeds = [assess_reward_model(GROUPS, scores) for scores in (SCORES, [[-v for v in of] for of in SCORES])]
    row, alone = table_row(seeds, 0), [table_row([one], 0) for one in seeds]
    for name in row:
        assert row[name]["mean"] == pytest.approx(sum(one[name]["mean"] for one in alone) / 2), name
        assert row[name]["count"] == alone[0][name]["count"]
    # The second model says the contrary of the first: the accuracies 7/12 and 5/12 differ by two sevenths.
    assert alone[1]["accuracy"]["mean"] == pytest.approx(1 - alone[0]["accuracy"]["mean"])
    assert row["accuracy"]["high"] - row["accuracy"]["low"] > alone[0]["accuracy"]["high"]
    assert sum(part["count"] for part in calibration_curve(seeds)) == 2 * 4
