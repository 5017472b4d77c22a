"""Which metric matters first, and whether it rises."""

import math
import random

import pytest

from alignkit import Metric
from alignkit.display.trend import leading, trend
from alignkit.training.metrics import metrics_of
from alignkit_bradley_terry import BradleyTerry
from alignkit_dpo import DirectPreferenceOptimization
from alignkit_ppo import ProximalPolicyOptimization
from alignkit_sft import SupervisedFineTuning


def test_the_means_of_the_first_and_last_quarter_are_compared():
    found = trend([0, 1, 0, 1] + [9] * 8 + [2, 3, 2, 3])
    assert (found.first, found.last, found.arrow) == (0.5, 2.5, "↑")
    assert str(found) == "↑ (0.5 at first, 2.5 lately)"
    assert trend([2, 3, 2, 3] + [9] * 8 + [0, 1, 0, 1]).arrow == "↓"


@pytest.mark.parametrize(("factor", "arrow"), [(0.98, "→"), (1.02, "↑")])
def test_two_standard_errors_decide(factor, arrow):
    # Quarters of four numbers ±1 have the variance 4/3, so their difference the error √(2 · 4/3 ÷ 4).
    difference = factor * 2 * math.sqrt(2 / 3)
    quarter = [-1, 1, -1, 1]
    assert trend(quarter + [0] * 8 + [value + difference for value in quarter]).arrow == arrow


def test_numbers_that_never_change_are_level():
    assert trend([0.5] * 16).arrow == "→"


def test_too_few_numbers_have_no_trend():
    assert trend([0.0] * 15) is None


def test_noise_alone_is_seldom_called_a_trend():
    rng = random.Random(0)
    moved = sum(trend([rng.gauss(0, 1) for _ in range(40)]).arrow != "→" for _ in range(2000))
    # With 10 numbers a quarter, t of 18 degrees of freedom exceeds 2 in 6 % of cases.
    assert moved / 2000 == pytest.approx(0.06, abs=0.02)


@pytest.mark.parametrize(
    ("objectives", "seen", "name"),
    [
        (
            [DirectPreferenceOptimization()],
            ["loss", "rewards/margins", "rewards/accuracies"],
            "rewards/accuracies",
        ),
        ([BradleyTerry()], ["loss", "rewards/accuracies"], "rewards/accuracies"),
        ([SupervisedFineTuning()], ["loss", "grad_norm"], "loss"),
        ([ProximalPolicyOptimization()], ["loss", "objective/kl", "rollouts/reward"], "rollouts/reward"),
        (
            [SupervisedFineTuning(), ProximalPolicyOptimization()],
            ["sft/loss", "ppo/loss", "ppo/rollouts/reward"],
            "ppo/rollouts/reward",
        ),
        ([SupervisedFineTuning()], [], None),
    ],
)
def test_the_metric_that_matters_first(objectives, seen, name):
    assert leading(metrics_of(objectives, ["judge"]), seen) == name


def test_a_detail_never_leads():
    metrics = {"loss": Metric("loss"), "length": Metric("length", "tokens", detail=True)}
    assert leading(metrics, ["length", "loss"]) == "loss"
