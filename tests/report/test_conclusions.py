"""What is concluded from numbers, and what is not."""

import math
import random

import pytest
from fake_run import make_record

from alignkit.evaluation.statistics import Interval
from alignkit.report.conclusions import (
    apart,
    best,
    listed,
    of_frontier,
    of_reliability,
    of_training,
    of_two_rewards,
)
from alignkit.report.records import Evaluation


def around(mean, half=0.1, count=40):
    return Interval(mean, mean - half, mean + half, count)


def policies(each=None, prompts=40, **targets):
    values = {name.replace("_", "-"): {"gold": value} for name, value in targets.items()}
    return Evaluation(
        "policies", "x", values, rewards=("gold",), against="base", prompts=prompts, each=each or {}
    )


def test_intervals_that_touch_are_not_apart_and_a_number_without_one_is_apart_from_nothing():
    assert apart(around(0.0), around(0.25))
    assert not apart(Interval(0.5, 0.25, 0.75, 9), Interval(1.0, 0.75, 1.25, 9))
    assert not apart(Interval(0.5, math.nan, math.nan, 9), around(5.0))


def test_the_best_is_apart_from_all_others_not_only_from_the_second():
    assert best({"a": around(0.1), "b": around(0.5)}) == "b"
    assert best({"a": Interval(0.1, 0.0, 0.45, 9), "b": around(0.5), "c": around(0.2, 0.01)}) is None
    assert best({"a": around(0.5)}) is None


def test_who_is_above_the_reference_is_told_apart_from_who_overlaps_with_it():
    said = of_frontier(policies(base=around(0.2), sft=around(0.3), dpo=around(0.6), bad=around(-0.4)))
    assert said[0] == (
        "By gold, dpo is above base, intervals apart; bad is below base, intervals apart; "
        "of sft nothing can be said: its interval overlaps with that of base."
    )
    assert said[1] == "By gold, dpo is the best, its interval apart from all others."


def test_two_leaders_whose_intervals_overlap_are_not_told_apart():
    said = of_frontier(policies(base=around(0.0), dpo=around(0.6), ppo=around(0.7)))
    assert (
        said[1]
        == "By gold, the intervals of ppo and dpo overlap: these runs do not tell which of them is better."
    )


def test_for_how_many_prompts_and_seeds_the_numbers_speak_is_told():
    targets = {"base": around(0.0), "dpo": around(0.6), "ppo": around(0.7)}
    assert of_frontier(policies(**targets))[-1] == (
        "The intervals are over 40 prompts, one training run each: they say nothing about other seeds."
    )
    each = {"dpo": {f"dpo-seed-{n}": {"gold": around(0.6)} for n in (1, 2, 3)}}
    assert of_frontier(policies(each=each, **targets))[-1] == (
        "The intervals are over 40 prompts and 3 seeds. "
        "ppo ran once: there they say nothing about other seeds."
    )


def test_a_reward_that_nobody_has_gives_no_sentence():
    assert of_frontier(Evaluation("policies", "x", {"base": {}}, rewards=("gold",))) == ()


@pytest.mark.parametrize(
    ("accuracy", "told"),
    [(0.8, "better than"), (0.55, "not told apart from"), (0.2, "worse than")],
)
def test_a_reward_model_is_held_against_length(accuracy, told):
    values = {"accuracy": around(accuracy), "length_only_accuracy": around(0.5)}
    (said,) = of_reliability(Evaluation("reward models", "x", {"judge": values}))
    assert told in said
    assert "40 prompts" in said


def noisy(values, seed=0, scatter=0.1):
    rng = random.Random(seed)
    return [value + rng.gauss(0, scatter) for value in values]


def test_a_trend_is_told_only_where_it_is_more_than_noise():
    rising = [{"loss": value} for value in noisy([n / 50 for n in range(50)])]
    flat = [{"loss": value} for value in noisy([0.5] * 50)]
    assert "more than single steps scatter" in of_training([make_record(*rising)], ["loss"])[0]
    assert "no trend can be told" in of_training([make_record(*flat)], ["loss"])[0]
    assert "too few to tell" in of_training([make_record(*rising[:9])], ["loss"])[0]


def test_held_out_data_says_when_the_loss_was_lowest():
    record = lambda *losses: make_record(*({"loss": 1.0, "held_out/loss": loss} for loss in losses))
    said = of_training([record(0.75, 0.5, 0.625)], ["loss"])
    assert "lowest at step 2 (0.500) and ended at 0.625: later steps did not lower it." in said[1]
    assert "lowest at the end, 0.500." in of_training([record(0.75, 0.5)], ["loss"])[1]


def test_an_accuracy_is_held_against_length():
    stage = make_record(
        {
            "rewards/accuracies": 0.5,
            "held_out/rewards/accuracies": 0.625,
            "held_out/length_only_accuracy": 0.75,
        }
    )
    said = of_training([stage], ["rewards/accuracies"])
    assert "ended at 0.625; preferring the longer completion gets 0.750." in said[1]


def test_one_run_is_said_to_be_one_and_seeds_are_counted():
    stage = make_record({"loss": 1.0})
    assert "One training run" in of_training([stage], ["loss"])[-1]
    assert "2 seeds" in of_training([stage, stage], ["loss"])[-1]


def test_a_policy_that_exploits_its_reward_is_named_only_where_the_watched_reward_fell():
    rise = [n / 10 for n in range(60)]
    turn = [min(n, 60 - n) / 10 for n in range(60)]
    assert "exploits the reward: after about step 31" in of_two_rewards("gold", noisy(rise), turn)[-1]
    assert "no sign of over-optimization" in of_two_rewards("gold", noisy(rise), noisy(rise, 1))[-1]
    assert "without a gain" in of_two_rewards("gold", noisy([1.0] * 60), noisy(turn, 1))[-1]


def test_names_are_listed_as_words():
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
