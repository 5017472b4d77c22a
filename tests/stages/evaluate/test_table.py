"""The table of an evaluation, from what is kept of each target."""

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


def test_rewards_win_rates_and_measures_are_means_over_prompts():
    table = means_of(make_table(STAGE, ["p", "q"], RECORDS, CONTEXT))  # type: ignore[arg-type]
    assert table["base"] == {"good": 0.5, "words": 1.5}
    # Of the first prompt's four pairs, 0.5 wins one and 2 wins two; the second prompt has no pair.
    assert table["dpo"] == {"good": pytest.approx((1.25 + 1) / 2), "win_rate/good": 0.75, "words": 2.0}


def test_every_column_is_called_as_it_was_registered():
    found = {name: str(metric) for name, metric in measures_of(STAGE, CONTEXT).items()}  # type: ignore[arg-type]
    assert found == {
        "good": "good",
        "win_rate/good": "win rate against base, good",
        "words": "length (words)",
    }
