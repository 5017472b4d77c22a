"""The table of an evaluation, from what is kept of each target."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from alignkit.measure import Measure, Metric
from alignkit.recipe import Evaluate
from alignkit.rewards.kinds import RegisteredReward, WeightedReward
from alignkit.stages.evaluate.plan import PlannedEvaluation
from alignkit.stages.evaluate.table import make_table, means_of, measures_of

SETTINGS = Evaluate.model_validate({"evaluate": ["base", "dpo"], "on": "prompts", "against": "base"})
STAGE = PlannedEvaluation(
    "seen", SETTINGS, (), (WeightedReward(RegisteredReward("good", lambda **more: [])),), ("words",)
)
WORDS = Measure(
    "words", lambda samples: [len(text[0].split()) for text in samples.completions], Metric("length", "words")
)
CONTEXT = SimpleNamespace(registry=SimpleNamespace(measures={"words": WORDS}), seed=0)


def record(texts, scores):
    return {
        "texts": texts,
        "tokens": [[[1]] for _ in texts],
        "finished": [[True] for _ in texts],
        "log_ratios": [[0.0] for _ in texts],
        "scores": {"good": scores},
    }


RECORDS = {
    "base": record([["a"], ["a b"]], [[0.0, 1.0], [None]]),
    "dpo": record([["a b c"], ["a"]], [[0.5, 2.0], [1.0]]),
}


def table(stage, records):
    return make_table(stage, ["p", "q"], records, CONTEXT)  # type: ignore[arg-type]


def test_rewards_gains_win_rates_and_measures_are_means_over_prompts():
    found = means_of(table(STAGE, RECORDS).targets)
    assert found["base"] == {"good": 0.5, "words": 1.5}
    # Of the first prompt's four pairs, 0.5 wins one and 2 wins two; the second prompt has no pair.
    assert found["dpo"] == {
        "good": pytest.approx((1.25 + 1) / 2),
        "gain/good": 0.75,
        "win_rate/good": 0.75,
        "words": 2.0,
    }


def test_a_gain_is_paired_by_prompt():
    # The scores vary from prompt to prompt by 100, and the gains are 1 and 3.
    records = {
        "base": record([["a"], ["a"]], [[0.0], [100.0]]),
        "dpo": record([["a"], ["a"]], [[1.0], [103.0]]),
    }
    row = table(STAGE, records).targets["dpo"]
    assert row["gain/good"] == {"mean": 2.0, "low": 1.0, "high": 3.0, "count": 2}
    assert row["good"]["high"] - row["good"]["low"] == 102.0


def test_without_seeds_nothing_is_told_of_each():
    assert table(STAGE, RECORDS).to_dict().keys() == {"targets"}


def seeded(against):
    settings = {"evaluate": ["base", "dpo"], "on": "prompts", "against": against}
    return replace(STAGE, settings=Evaluate.model_validate({**settings, "seeds": {"dpo": 2}}))


SEEDS = {
    "dpo-seed-1": record([["a"], ["a"]], [[1.0], [3.0]]),
    "dpo-seed-2": record([["a"], ["a"]], [[5.0], [7.0]]),
}


def test_a_target_with_seeds_has_their_mean_and_each_seed_by_itself():
    found = table(seeded("base"), {"base": record([["a"], ["a"]], [[1.0], [2.0]]), **SEEDS})
    assert found.targets["dpo"]["good"]["mean"] == 4.0
    assert found.targets["dpo"]["gain/good"]["mean"] == 2.5
    assert found.targets["base"]["good"] == {"mean": 1.5, "low": 1.0, "high": 2.0, "count": 2}
    assert found.each.keys() == {"dpo"}
    assert found.each["dpo"]["dpo-seed-1"]["good"] == {"mean": 2.0, "low": 1.0, "high": 3.0, "count": 2}
    assert found.each["dpo"]["dpo-seed-2"]["gain/good"]["mean"] == 4.5
    # Seed means 2 and 6: Student's t of one degree of freedom, 12.7, times the deviation 2.83, over √2.
    width = found.targets["dpo"]["good"]["high"] - 4.0
    assert width == pytest.approx(math.hypot(1.0, 12.7062 * 2), rel=1e-4)
    assert [*found.labelled(seeded("base").rows)] == ["base", "dpo (2 seeds)"]


def test_a_reference_with_seeds_is_compared_seed_by_seed():
    other = {
        "dpo-seed-1": SEEDS["dpo-seed-1"],
        "dpo-seed-2": SEEDS["dpo-seed-2"],
        "base-seed-1": record([["a"], ["a"]], [[2.0], [2.0]]),
        "base-seed-2": record([["a"], ["a"]], [[2.0], [2.0]]),
    }
    found = table(seeded("dpo"), other)
    # 2 is more than 1 and less than 3, and less than 5 and 7.
    assert found.targets["base"]["win_rate/good"]["mean"] == pytest.approx((1 + 0 + 0 + 0) / 4)
    assert found.targets["base"]["gain/good"]["mean"] == pytest.approx((1 - 1 - 3 - 5) / 4)
    assert found.targets["base"]["good"] == {"mean": 2.0, "low": 2.0, "high": 2.0, "count": 2}
    assert found.each.keys() == {"dpo"}
    assert "gain/good" not in found.targets["dpo"]


def test_every_column_is_called_as_it_was_registered():
    found = {name: str(metric) for name, metric in measures_of(STAGE, CONTEXT).items()}  # type: ignore[arg-type]
    assert found == {
        "good": "good",
        "gain/good": "gain over base, good",
        "win_rate/good": "win rate against base, good",
        "words": "length (words)",
    }
