"""A metric over the steps: its finite values, smoothed."""

import pytest
from fake_run import make_record

from alignkit.report.series import series, smoothed


def test_a_short_run_is_not_smoothed_and_a_line_stays_a_line_inside():
    assert smoothed([3.0, 1.0, 2.0]) == [3.0, 1.0, 2.0]
    line = [float(number) for number in range(200)]
    assert smoothed(line)[10:190] == pytest.approx(line[10:190])


def test_smoothing_averages_about_a_twentieth():
    spike = [0.0] * 100 + [1.0] + [0.0] * 99
    assert max(smoothed(spike)) == pytest.approx(1 / 11)  # 200 // 40 = 5 on each side


def test_values_that_are_not_finite_are_left_out():
    records = make_record({"loss": float("nan")}, {"loss": None}, {"loss": 2}).metrics
    assert series(records, "loss").steps == (3.0,)
