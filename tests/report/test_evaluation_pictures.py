"""What is drawn of an evaluation."""

import math

import pytest

from alignkit.evaluation.statistics import Bin, Interval
from alignkit.measure import Metric
from alignkit.report.evaluation_pictures import frontier, reliability, wilson
from alignkit.report.figures import looks
from alignkit.report.records import Evaluation

LOOK = looks(["base", "sft"])
DISTANCE = {"theirs": Metric("distance", "nats", divergence=True)}


def evaluation(measures, distance=1.0):
    values = {"theirs": Interval(distance, 0.9, 1.1, 10), "good": Interval(0.5, 0.4, 0.6, 10)}
    return Evaluation("policies", "prompts", {"sft": values}, measures, rewards=("good",))


def test_rewards_are_drawn_against_the_measure_that_is_a_divergence_whatever_its_name():
    picture = frontier("compare", evaluation(DISTANCE), LOOK)
    assert picture is not None
    assert picture.name == "compare-frontier"


def test_without_a_divergence_or_a_finite_mean_of_both_there_is_no_frontier():
    assert frontier("compare", evaluation({"theirs": Metric("distance", "nats")}), LOOK) is None
    assert frontier("compare", evaluation(DISTANCE, math.nan), LOOK) is None


def test_only_models_with_a_calibration_curve_are_drawn():
    bins = (Bin(0.6, 0.7, 12), Bin(0.8, 0.75, 20))
    calibrated = Evaluation("reward models", "pairs", {}, calibration={"sft": bins, "base": ()})
    picture = reliability("judge", calibrated, LOOK)
    assert picture is not None
    assert picture.name == "judge-reliability"
    assert reliability("judge", Evaluation("reward models", "pairs", {}), LOOK) is None


def test_the_wilson_interval_solves_its_equation():
    # Both ends p satisfy (share − p)² = z² p (1 − p) / n.
    for end in wilson(0.9, 20):
        assert (0.9 - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / 20)
    assert wilson(1.0, 5)[1] == pytest.approx(1.0)
