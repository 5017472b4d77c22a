"""What is drawn of a training stage."""

import pytest

from alignkit.report.evaluation_pictures import wilson
from alignkit.report.figures import looks
from alignkit.report.reading import Stage
from alignkit.report.training_pictures import curves, panel_names, series, smoothed
from alignkit.run.manifest import Manifest


def stage(*records):
    return Stage(
        "one",
        Manifest("f", {}),
        tuple({"step": number, **record} for number, record in enumerate(records, 1)),
        {},
        None,
        (),
    )


def test_a_short_run_is_not_smoothed_and_a_line_stays_a_line_inside():
    assert smoothed([3.0, 1.0, 2.0]) == [3.0, 1.0, 2.0]
    line = [float(number) for number in range(200)]
    assert smoothed(line)[10:190] == pytest.approx(line[10:190])


def test_smoothing_averages_about_a_twentieth():
    spike = [0.0] * 100 + [1.0] + [0.0] * 99
    assert max(smoothed(spike)) == pytest.approx(1 / 11)  # 200 // 40 = 5 on each side


def test_held_out_values_share_the_panel_of_training():
    records = [
        {
            "step": 1,
            "grad_norm": 1,
            "logps/chosen": -3,
            "rewards/accuracies": 0.5,
            "loss": 1,
            "held_out/loss": 2,
            "memory_gb": 1,
        }
    ]
    assert panel_names(records) == ["loss", "rewards/accuracies", "logps/chosen", "grad_norm"]


def test_values_that_are_not_finite_are_left_out():
    assert series(stage({"loss": float("nan")}, {"loss": None}, {"loss": 2}).metrics, "loss").steps == (3.0,)


def test_two_stages_never_look_alike_and_the_base_is_black():
    found = looks(["base", *(f"s{number}" for number in range(14))])
    assert len(set(found.values())) == 15
    assert found["base"].color == "#000000"


def test_the_wilson_interval_solves_its_equation():
    # Both ends p satisfy (share − p)² = z² p (1 − p) / n.
    for end in wilson(0.9, 20):
        assert (0.9 - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / 20)
    assert wilson(1.0, 5)[1] == pytest.approx(1.0)


def test_metrics_beyond_the_panels_are_counted_in_the_caption():
    many = stage({"loss": 1.0, **{f"policy/{number}": 1.0 for number in range(16)}})
    picture = curves(many, looks(["one"])["one"])
    assert picture is not None
    assert "2 further metrics are in metrics.jsonl" in picture.caption  # 17, of which 15 have a panel


def test_what_online_training_is_about_comes_before_details():
    names = [
        "policy/clipped",
        "rollouts/length",
        "objective/kl",
        "rewards/b",
        "grad_norm",
        "rollouts/reward",
        "loss",
    ]
    assert panel_names([{"step": 1, **{name: 1.0 + place for place, name in enumerate(names)}}]) == [
        "loss",
        "rollouts/reward",
        "rewards/b",
        "objective/kl",
        "rollouts/length",
        "policy/clipped",
        "grad_norm",
    ]


def test_the_metrics_of_a_mixture_are_drawn_in_the_same_order_and_none_that_one_objective_would_not_have():
    names = [
        "ppo/policy/clipped",
        "sft/loss",
        "ppo/rollouts/seconds",
        "ppo/rewards/a",
        "ppo/rollouts/reward",
        "ppo/rewards/b",
        "grad_norm",
    ]
    # 5: the optimised reward's own
    values = {name: 1.0 + place for place, name in enumerate(names)} | {"ppo/rewards/a": 5.0}
    assert panel_names([{"step": 1, **values}], ["ppo", "sft"]) == [
        "sft/loss",
        "ppo/rollouts/reward",
        "ppo/rewards/b",
        "ppo/policy/clipped",
        "grad_norm",
    ]
