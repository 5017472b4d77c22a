"""Which metrics of a training stage are drawn, and in which order."""

from fake_run import METRICS, make_record

from alignkit.measure import Metric
from alignkit.report.panels import panel_names


def drawn(stage):
    """The names of all panels in their order: those that are seen, then those that are folded away."""
    shown, folded = panel_names(stage)
    return [*shown, *folded]


def numbered(*names):
    """Return a record in which every metric has another value."""
    return {name: 1.0 + place for place, name in enumerate(names)}


def test_held_out_values_share_the_panel_of_training():
    stage = make_record(
        {
            "grad_norm": 1,
            "logps/chosen": -3,
            "rewards/accuracies": 0.5,
            "loss": 1,
            "held_out/loss": 2,
            "memory_gb": 1,
        }
    )
    assert drawn(stage) == ["loss", "rewards/accuracies", "logps/chosen", "grad_norm"]


def test_what_online_training_is_about_comes_before_details():
    stage = make_record(
        numbered(
            "policy/clipped",
            "rollouts/length",
            "objective/kl",
            "rewards/b",
            "grad_norm",
            "rollouts/reward",
            "loss",
        )
    )
    assert panel_names(stage) == (
        ["rollouts/reward", "rewards/b", "objective/kl", "loss", "policy/clipped"],
        ["rollouts/length", "grad_norm"],
    )


def test_the_divergence_is_told_by_its_declaration_and_details_come_last_but_for_the_optimizer():
    theirs = {
        "theirs/detail": Metric("detail", detail=True),
        "theirs/distance": Metric("distance", divergence=True),
    }
    stage = make_record(
        numbered("learning_rate", "theirs/detail", "other", "rollouts/length", "theirs/distance"),
        metrics=METRICS | theirs,
    )
    assert panel_names(stage) == (
        ["theirs/distance", "other"],
        ["rollouts/length", "theirs/detail", "learning_rate"],
    )


def test_what_length_alone_would_get_has_no_panel_of_its_own():
    stage = make_record({"loss": 1.0, "held_out/length_only_accuracy": 0.5})
    assert drawn(stage) == ["loss"]


def test_a_lone_reward_is_drawn_once_as_the_optimized_reward():
    same = {"rollouts/reward": 2.0, "rewards/a": 2.0}
    assert drawn(make_record(same)) == ["rollouts/reward"]
    assert drawn(make_record(same, {"rollouts/reward": 1.0, "rewards/a": 3.0})) == [
        "rollouts/reward",
        "rewards/a",
    ]


def test_the_metrics_of_a_mixture_are_drawn_in_the_same_order_and_none_that_one_objective_would_not_have():
    values = numbered(
        "ppo/policy/clipped",
        "sft/loss",
        "ppo/rollouts/seconds",
        "ppo/rewards/a",
        "ppo/rollouts/reward",
        "ppo/rewards/b",
        "grad_norm",
    )
    values |= {"ppo/rewards/a": values["ppo/rollouts/reward"]}
    assert drawn(make_record(values, terms=["ppo", "sft"])) == [
        "ppo/rollouts/reward",
        "ppo/rewards/b",
        "sft/loss",
        "ppo/policy/clipped",
        "grad_norm",
    ]


def test_what_never_changes_is_folded_away_unless_its_held_out_value_changes():
    steps = [
        {"loss": 1.0 / n, "flat": 0.3, "seen": 0.5, "held_out/seen": 0.1 * n, "rewards/rate": 1e-5}
        for n in (1, 2, 3)
    ]
    assert panel_names(make_record(*steps)) == (["loss", "seen"], ["rewards/rate", "flat"])
    assert panel_names(make_record(steps[0]))[0] == ["loss", "rewards/rate", "flat", "seen"]
