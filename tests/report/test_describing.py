"""The words for stages, measures and numbers."""

import pytest
from fake_run import interval, write_evaluation, write_train

from alignkit.report.describing import measure_label, number_label, stage_line, summary_line
from alignkit.report.reading import read_run


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (1234.5, "1,234"),
        (12.345, "12.3"),
        (-0.5, "-0.500"),
        (0, "0"),
        (2000.0, "2,000"),
        (1e-5, "1e-05"),
        (float("nan"), "–"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number_label(value) == text


def test_measures_have_a_name_and_a_unit():
    assert measure_label("win_rate/sentiment", "base") == "win rate against base, sentiment"
    assert measure_label("repetition-4") == "repetition (share of 4-grams)"
    assert measure_label("rewards/own") == "rewards/own"


def test_a_training_stage_is_told_by_its_objective_start_and_reward(tmp_path):
    settings = {"reward": [{"reward": "judge"}, {"reward": "length"}], "steps": None, "epochs": 2.0}
    write_train(
        tmp_path,
        "policy",
        "mine",
        [],
        start="sft",
        settings=settings,
        options={"beta": 0.5, "name": "x", "on_policy": True},
    )
    assert stage_line(read_run(tmp_path).stages[0]) == (
        "train mine (beta 0.5) on comparisons from sft, reward judge, length: 2 epochs"
    )


def test_an_evaluation_is_told_by_its_targets_and_who_is_ahead(tmp_path):
    write_evaluation(
        tmp_path,
        "compare",
        {"base": {"sentiment": interval(0.2, 0.1)}, "sft": {"sentiment": interval(0.3, 0.1)}},
        reads=[],
    )
    (stage,) = read_run(tmp_path).stages
    assert stage_line(stage) == "evaluate base, sft on prompts"
    assert summary_line(stage) == "highest sentiment: sft, 0.300"
