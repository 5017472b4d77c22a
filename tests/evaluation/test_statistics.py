"""Intervals, win rates, rank correlation and calibration, against numbers worked out by hand or another
way.
"""

import json
import math

import numpy as np
import pytest

from alignkit.evaluation.statistics import (
    Bin,
    Interval,
    bootstrap,
    bootstrap_ratio,
    calibration,
    calibration_error,
    over_seeds,
    spearman,
    win_rate,
)


def test_the_interval_of_two_values_spans_the_three_means_a_resample_can_have():
    # A resample of (0, 1) has the mean 0, ½ or 1 with probability ¼, ½, ¼: the 95 % interval reaches both
    # ends, the 40 % one neither.
    assert bootstrap([0.0, 1.0]) == Interval(0.5, 0.0, 1.0, 2)
    assert bootstrap([0.0, 1.0], level=0.4) == Interval(0.5, 0.5, 0.5, 2)


def test_the_interval_is_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(3).normal(2.0, 1.5, 400)
    found = bootstrap(list(values))

    half = 1.96 * values.std() / math.sqrt(400)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def test_the_interval_covers_the_true_mean_about_as_often_as_its_level():
    generator = np.random.default_rng(0)
    found = [bootstrap(list(generator.normal(1.0, 2.0, 50)), seed=number, draws=300) for number in range(400)]
    covered = sum(interval.low <= 1.0 <= interval.high for interval in found) / 400

    # The standard error of a share of 0.95 in 400 is 0.011; at n = 50 the percentile interval is about 0.01
    # short.
    assert 0.91 <= covered <= 0.98


def test_what_has_no_score_is_left_out_of_the_mean_and_the_count():
    assert bootstrap([1.0, None, math.nan, 1.0]) == Interval(1.0, 1.0, 1.0, 2)


def test_an_interval_of_nothing_is_written_as_null():
    assert json.loads(json.dumps(bootstrap([None]).to_dict(), allow_nan=False)) == {
        "mean": None,
        "low": None,
        "high": None,
        "count": 0,
    }


def test_one_seed_gives_one_interval(rng):
    values = [rng.random() for _ in range(20)]
    assert bootstrap(values, seed=5) == bootstrap(values, seed=5)
    assert bootstrap(values, seed=5) != bootstrap(values, seed=6)


STUDENT = {1: 12.7062, 2: 4.3027, 4: 2.7764}
"""The 97.5 % points of Student's t by its degrees of freedom, from a printed table."""


def test_one_seed_has_the_interval_over_prompts(rng):
    values = [rng.random() for _ in range(20)]
    assert over_seeds([values], seed=5) == bootstrap(values, seed=5)
    assert over_seeds([[None, *values]], seed=5) == bootstrap(values, seed=5)


def test_seeds_that_agree_add_nothing(rng):
    values = [rng.random() for _ in range(20)]
    found, alone = over_seeds([values] * 3, seed=5), bootstrap(values, seed=5)
    assert (found.mean, found.low, found.high) == pytest.approx((alone.mean, alone.low, alone.high))
    assert found.count == 20


@pytest.mark.parametrize("count", [2, 3, 5])
def test_seeds_alone_have_students_interval(count):
    # The mean of 1 … n is (n + 1)/2, and their variance n(n + 1)/12. Prompts do not differ.
    found = over_seeds([[float(number)] * 4 for number in range(1, count + 1)])
    half = STUDENT[count - 1] * math.sqrt((count + 1) / 12)
    assert found.mean == (count + 1) / 2
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), rel=1e-4)


def test_the_distances_over_prompts_and_over_seeds_add_up_as_squares():
    # The prompts' means are 1 and 2, and their interval (1, 2). The seeds' are ½ and 2½, with variance 2.
    found = over_seeds([[0.0, 1.0], [2.0, 3.0]])
    half = math.sqrt(0.5**2 + STUDENT[1] ** 2 * 2 / 2)
    assert (found.mean, found.low, found.high) == pytest.approx((1.5, 1.5 - half, 1.5 + half), rel=1e-4)


def test_the_noise_of_single_samples_is_counted_once():
    # The means of prompts and of seeds are both 2 and 0, so the rest is ±1 everywhere: its variance in the
    # mean is (4 · 1²) ÷ (1 · 1) ÷ 4 = 1, which is contained in the distance over prompts already.
    found = over_seeds([[4.0, 0.0], [0.0, 0.0]])
    half = math.sqrt(1**2 + STUDENT[1] ** 2 * 2 / 2 - 1.95996**2 * 1)
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half), rel=1e-4)


def test_what_one_seed_has_no_value_of_counts_by_the_others():
    found = over_seeds([[1.0, None, None], [3.0, 5.0, None]])
    assert (found.mean, found.count) == ((2 + 5) / 2, 2)
    unknown = over_seeds([[1.0, 2.0], [None, None]])
    assert unknown.mean == 1.5
    assert math.isnan(unknown.low)
    assert over_seeds([[None], [None]]).count == 0


def share_covered(generator, *, prompts, seeds, noise, trials=300):
    """How often the interval of 3 seeds and 40 prompts holds the true mean 0, of known deviations."""
    covered = 0
    for number in range(trials):
        of_prompts, of_seeds = generator.normal(0, prompts, 40), generator.normal(0, seeds, (3, 1))
        values = of_prompts + of_seeds + generator.normal(0, noise, (3, 40))
        found = over_seeds(values.tolist(), seed=number, draws=150)
        covered += found.low <= 0 <= found.high
    return covered / trials


@pytest.mark.parametrize(
    ("prompts", "seeds", "noise"), [(0.3, 0.05, 0.3), (0.3, 0.2, 0.3), (0.3, 1.0, 0.3), (0.0, 0.1, 0.3)]
)
def test_three_seeds_cover_the_true_mean_about_as_often_as_the_level(prompts, seeds, noise):
    found = share_covered(np.random.default_rng(0), prompts=prompts, seeds=seeds, noise=noise)
    assert 0.93 <= found <= 0.99


def test_seeds_without_a_difference_are_covered_too_often_and_never_too_seldom():
    assert share_covered(np.random.default_rng(0), prompts=0.3, seeds=0.0, noise=0.3) >= 0.95


def test_a_win_counts_one_a_tie_half_and_a_loss_nothing():
    assert win_rate([[2.0], [1.0], [0.0]], [[1.0], [1.0], [1.0]]) == [1.0, 0.5, 0.0]


def test_several_completions_are_compared_pair_by_pair():
    # 3 beats 1 and 2; 2 beats 1 and ties 2: (1 + 1 + 1 + ½) ÷ 4.
    assert win_rate([[3.0, 2.0]], [[1.0, 2.0]]) == [0.875]


def test_a_prompt_without_scores_has_no_win_rate():
    first, second = win_rate([[None], [1.0, None]], [[1.0], [0.0]])
    assert math.isnan(first)
    assert second == 1.0


def test_the_two_win_rates_of_a_comparison_add_up_to_one(rng):
    ours, theirs = ([[float(rng.randrange(3)) for _ in range(3)] for _ in range(30)] for _ in range(2))
    assert [
        a + b for a, b in zip(win_rate(ours, theirs), win_rate(theirs, ours), strict=True)
    ] == pytest.approx([1.0] * 30)


def spearman_by_pairs(a, b):
    """Σ over pairs of rank differences; the rank of a value is how many it exceeds, ties counting half."""
    rank = lambda values: [sum((x > y) + 0.5 * (x == y) for y in values) for x in values]
    p, q = rank(a), rank(b)
    indices = range(len(a))
    total = lambda f: sum(f(i, j) for i in indices for j in indices)
    both = total(lambda i, j: (p[i] - p[j]) * (q[i] - q[j]))
    return both / math.sqrt(total(lambda i, j: (p[i] - p[j]) ** 2) * total(lambda i, j: (q[i] - q[j]) ** 2))


@pytest.mark.parametrize("levels", [3, 1000])
def test_spearman_agrees_with_the_sum_over_all_pairs(rng, levels):
    for _ in range(20):
        a, b = ([float(rng.randrange(levels)) for _ in range(12)] for _ in range(2))
        if len(set(a)) > 1 and len(set(b)) > 1:
            assert spearman(a, b) == pytest.approx(spearman_by_pairs(a, b), abs=1e-12)


def test_spearman_sees_the_order_alone():
    assert spearman([1.0, 2.0, 3.0], [1.0, 10.0, 1000.0]) == pytest.approx(1.0)
    assert spearman([1.0, 2.0, 3.0], [5.0, 0.0, -7.0]) == pytest.approx(-1.0)


def test_spearman_of_a_constant_is_none():
    assert spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert spearman([], []) is None


def test_spearman_leaves_out_pairs_with_a_missing_side():
    assert spearman([1.0, None, 2.0, 3.0], [1.0, 99.0, 3.0, math.nan]) == pytest.approx(1.0)


def test_calibration_groups_predictions_by_bins_of_equal_width():
    # Two bins of [0, ½) and [½, 1]; the edge ½ belongs to the second, and so does 1.
    assert calibration([0.1, 0.3, 0.5, 1.0], [0, 1, 1, 1], bins=2) == [Bin(0.2, 0.5, 2), Bin(0.75, 1.0, 2)]


def test_empty_bins_are_left_out():
    assert calibration([0.95, 0.95], [1, 0]) == [Bin(0.95, 0.5, 2)]


def test_the_calibration_error_weighs_each_bin_by_its_items():
    # (3·|0.5 − 0.2| + 1·|1.0 − 0.8|) ÷ 4 = 0.275
    assert calibration_error([Bin(0.2, 0.5, 3), Bin(0.8, 1.0, 1)]) == pytest.approx(0.275)


def test_predictions_that_come_true_as_often_as_they_say_have_a_small_error():
    generator = np.random.default_rng(0)
    predicted = generator.random(20000)
    honest = calibration_error(calibration(list(predicted), list(generator.random(20000) < predicted)))
    boastful = calibration_error(calibration(list(predicted), list(generator.random(20000) < 0.5)))

    assert honest < 0.02
    assert boastful == pytest.approx(0.25, abs=0.02)  # the mean of |p − ½| over [0, 1]


def test_a_prediction_outside_of_zero_to_one_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration([1.2], [1])


def test_a_ratio_of_totals_weighs_long_texts_more_and_resamples_both_sides_together():
    found = bootstrap_ratio([3.0, 1.0], [10, 2])
    assert found.mean == pytest.approx(4 / 12)
    # a resample has the first text twice, the second twice, or both: 0.3, 0.5 or 1/3
    assert (found.low, found.high) == pytest.approx((0.3, 0.5))
    assert found.count == 2
    many = bootstrap_ratio([0.5 * n for n in range(1, 40)], list(range(1, 40)))
    assert (many.low, many.mean, many.high) == pytest.approx((0.5, 0.5, 0.5)), "a constant has no spread"
    assert math.isnan(bootstrap_ratio([], []).mean)
