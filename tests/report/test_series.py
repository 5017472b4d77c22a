"""A metric over the steps: its finite values, smoothed."""

import math

import pytest
from fake_run import make_record

from alignkit.report.series import constant, mean_records, series, smoothed


def test_a_short_run_is_not_smoothed_and_a_line_stays_a_line_inside():
    assert smoothed([3.0, 1.0, 2.0]) == [3.0, 1.0, 2.0]
    line = [float(number) for number in range(200)]
    assert smoothed(line)[12:188] == pytest.approx(line[12:188])


def test_smoothing_averages_about_an_eighth():
    spike = [0.0] * 100 + [1.0] + [0.0] * 99
    assert max(smoothed(spike)) == pytest.approx(1 / 25)  # 200 // 16 = 12 on each side


def test_values_that_are_not_finite_are_left_out():
    records = make_record({"loss": float("nan")}, {"loss": None}, {"loss": 2}).metrics
    assert series(records, "loss").steps == (3.0,)


def test_the_mean_of_several_runs_holds_the_steps_and_metrics_that_all_of_them_have():
    one = [{"step": 1, "loss": 1.0, "kl": 2.0}, {"step": 2, "loss": 3.0, "kl": math.nan}]
    two = [{"step": 2, "loss": 5.0, "kl": 1.0}]
    assert mean_records([one, two]) == [{"step": 2, "loss": 4.0}]
    assert mean_records([one]) is one


def test_a_metric_is_constant_only_if_it_was_measured_more_than_once():
    records = make_record({"a": 0.5, "b": 1.0}, {"a": 0.5}, {"a": 0.5 + 1e-14}).metrics
    assert constant(records, "a")
    assert not constant(records, "b")
