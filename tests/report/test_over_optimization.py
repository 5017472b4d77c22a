"""Which reward is held against the optimized one, and how that is shown."""

import pytest
from fake_run import KL, make_record

from alignkit.report.figures import looks
from alignkit.report.over_optimization import divergence, gold_name, proxy_and_gold, sampled
from alignkit.report.series import series
from alignkit.training.metrics import OPTIMIZED_REWARD

MEASURED = {"rollouts/reward": 1.0, "rewards/model": 2.0, "rewards/other": 2.0, "rewards/sentiment": 0.1}


def stage(*records, reward=("model",), watch=(), **more):
    named = lambda parts: [{"reward": part} if isinstance(part, str) else part for part in parts]
    settings = {"reward": named(reward), "watch": named(watch)}
    return make_record(*records, settings=settings, **more)


def test_gold_is_a_watched_reward_in_the_order_of_the_evaluation_and_never_one_that_is_optimized():
    online = stage(
        MEASURED, reward=["model", {"reward": "extra", "weight": 0.1}], watch=["other", "sentiment"]
    )
    assert gold_name(online, ["model", "sentiment"]) == "sentiment"
    assert gold_name(online, ["model"]) == gold_name(online, []) == "other"


def test_without_a_watched_reward_or_without_samples_there_is_no_gold():
    assert gold_name(stage(MEASURED), ["model", "sentiment"]) is None
    assert gold_name(stage({"rewards/chosen": 1.0}, watch=["chosen"]), ["chosen"]) is None


def test_of_a_mixture_the_metrics_of_the_objective_that_samples_are_read():
    mixed = {f"ppo/{name}": value for name, value in MEASURED.items()} | {
        "ppo/objective/kl": 0.5,
        "sft/loss": 2.0,
    }
    metrics = {"sft/objective/kl": KL, "ppo/objective/kl": KL}
    online = stage(mixed, mixed, watch=["sentiment"], terms=("ppo", "sft"), metrics=metrics)
    assert gold_name(online, []) == "sentiment"
    assert series(sampled(online), OPTIMIZED_REWARD).values == (1.0, 1.0)
    assert divergence(online) == {"objective/kl": "KL to the reference (nats per completion)"}
    picture = proxy_and_gold("s", [online], looks(["s"])["s"], [])
    assert picture is not None
    assert [panel.name for panel in picture.panels] == [
        "s-over-optimization-step",
        "s-over-optimization-divergence",
    ]


def test_a_divergence_that_was_declared_and_not_measured_is_not_drawn_against():
    assert divergence(stage(MEASURED, metrics={"objective/kl": KL})) == {}


@pytest.mark.parametrize("missing", [False, True])
def test_standardized_rewards_are_shown_as_they_are_for_their_own_sum_is_zero_in_every_batch(missing):
    parts = [{"reward": "model", "weight": 2, "standardize": True}, {"reward": "other", "weight": 0.5}]
    record = {"rollouts/reward": 1e-8, "rewards/model": 3.0, "rewards/other": 4.0}
    if missing:  # a reward that abstained from a whole batch
        del record["rewards/other"]
    found = series(sampled(stage(record, reward=parts)), OPTIMIZED_REWARD).values
    assert found == (() if missing else (8.0,))
