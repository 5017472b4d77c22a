"""What is drawn of an evaluation."""

import math
from dataclasses import replace

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
    assert [panel.name for panel in picture.panels] == ["compare-frontier-good"]


def test_without_a_divergence_or_a_finite_mean_of_both_there_is_no_frontier():
    assert frontier("compare", evaluation({"theirs": Metric("distance", "nats")}), LOOK) is None
    assert frontier("compare", evaluation(DISTANCE, math.nan), LOOK) is None


def test_each_seed_is_a_small_point_beside_the_cross_of_their_mean():
    once = frontier("compare", evaluation(DISTANCE), LOOK)
    seeds = {
        f"sft-seed-{n}": {"theirs": Interval(n, n, n, 10), "good": Interval(0.5, 0.4, 0.6, 10)}
        for n in (1, 2, 3)
    }
    several = frontier("compare", replace(evaluation(DISTANCE), each={"sft": seeds}), LOOK)
    assert once is not None
    assert several is not None
    count = lambda picture: picture.panels[0].svg.count("<use")
    assert "opacity: 0.45" not in once.panels[0].svg
    assert several.panels[0].svg.count("fill-opacity: 0.45") >= 3
    assert count(several) >= count(once) + 3
    assert "single seeds" in several.caption


def test_only_models_with_a_calibration_curve_are_drawn():
    bins = (Bin(0.6, 0.7, 12), Bin(0.8, 0.75, 20))
    calibrated = Evaluation("reward models", "pairs", {}, calibration={"sft": bins, "base": ()})
    picture = reliability("judge", calibrated, LOOK)
    assert picture is not None
    assert [panel.name for panel in picture.panels] == ["judge-reliability-sft"]
    assert reliability("judge", Evaluation("reward models", "pairs", {}), LOOK) is None


def test_the_wilson_interval_solves_its_equation():
    # Both ends p satisfy (share − p)² = z² p (1 − p) / n.
    for end in wilson(0.9, 20):
        assert (0.9 - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / 20)
    assert wilson(1.0, 5)[1] == pytest.approx(1.0)
