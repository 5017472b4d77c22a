"""Which reward is held against the optimised one, and how that is shown."""

import pytest

from alignkit.report.figures import looks
from alignkit.report.over_optimization import gold_name, proxy_and_gold, sampled
from alignkit.report.reading import Stage
from alignkit.report.training_pictures import PROXY, series
from alignkit.run.manifest import Manifest


def stage(*records, reward=("model",), watch=(), terms=("one",)):
    named = lambda parts: [{"reward": part} if isinstance(part, str) else part for part in parts]
    inputs = {
        "settings": {"reward": named(reward), "watch": named(watch)},
        "terms": [{"objective": term} for term in terms],
    }
    numbered = tuple({"step": number, **record} for number, record in enumerate(records, 1))
    return Stage("s", Manifest("f", inputs), numbered, {}, None, ())


MEASURED = {"rollouts/reward": 1.0, "rewards/model": 2.0, "rewards/other": 2.0, "rewards/sentiment": 0.1}


def test_gold_is_a_watched_reward_in_the_order_of_the_evaluation_and_never_one_that_is_optimised():
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
    online = stage(mixed, mixed, watch=["sentiment"], terms=("ppo", "sft"))
    assert gold_name(online, []) == "sentiment"
    assert series(sampled(online), PROXY).values == (1.0, 1.0)
    picture = proxy_and_gold(online, looks(["s"])["s"], [])
    assert picture is not None
    assert picture.name == "s-over-optimization"


@pytest.mark.parametrize("missing", [False, True])
def test_standardised_rewards_are_shown_as_they_are_for_their_own_sum_is_zero_in_every_batch(missing):
    parts = [{"reward": "model", "weight": 2, "standardize": True}, {"reward": "other", "weight": 0.5}]
    record = {"rollouts/reward": 1e-8, "rewards/model": 3.0, "rewards/other": 4.0}
    if missing:  # a reward that abstained from a whole batch
        del record["rewards/other"]
    assert series(sampled(stage(record, reward=parts)), PROXY).values == (() if missing else (8.0,))
