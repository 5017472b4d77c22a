"""The words for results, for the pace of a training, for the run's facts, and for numbers."""

import pytest
from fake_run import interval, make_record, write_evaluation, write_stage

from alignkit.report.describing import facts, number_label, pace, summary_line
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


def test_an_evaluation_is_told_by_its_line_and_who_is_ahead(tmp_path):
    write_evaluation(
        tmp_path,
        "compare",
        {"base": {"sentiment": interval(0.2, 0.1)}, "sft": {"sentiment": interval(0.3, 0.1)}},
        reads=[],
    )
    (stage,) = read_run(tmp_path).stages
    assert stage.line == "evaluate base, sft on prompts by sentiment + reward, against base"
    assert summary_line(stage) == "highest sentiment: sft, 0.300"


def test_a_summary_begins_with_the_steps_and_the_loss_and_leaves_details_to_the_end(tmp_path):
    summary = {
        "held_out/logps/chosen": -40.0,
        "held_out/rewards/accuracies": 0.75,
        "held_out/loss": 0.5,
        "steps": 200,
        "zebras": 1,
        "stopped": True,
    }
    write_stage(tmp_path, "policy", "train", summary=summary)
    (stage,) = read_run(tmp_path).stages
    assert (
        summary_line(stage) == "steps 200, held-out loss 0.500, held-out rewards/accuracies 0.750, zebras 1"
    )


def test_a_summary_tells_what_ended_the_stage_early(tmp_path):
    stopped = {"step": 40, "steps": 90, "by": "kl-alarm", "reason": "objective/kl is 5, above 4"}
    write_stage(tmp_path, "policy", "train", summary={"steps": 40, "stopped": stopped})
    (stage,) = read_run(tmp_path).stages
    assert summary_line(stage) == "steps 40, stopped by kl-alarm: objective/kl is 5, above 4"


def test_the_pace_is_the_median_speed_and_the_highest_memory():
    steps = [{"tokens_per_second": speed, "memory_gb": speed / 100} for speed in (100.0, 300.0, 200.0)]
    assert pace(make_record(*steps)) == "3 steps done, median 200 tokens per second, peak memory 3 GB"
    assert pace(make_record()) == "no step yet"


def test_facts_are_written_once_where_all_stages_agree(tmp_path):
    write_stage(tmp_path, "a", "train")
    write_stage(tmp_path, "b", "train")
    found = facts(read_run(tmp_path))
    assert found["Model"] == "tiny-model, nf4, auto, LoRA r = 16"
    assert found["Seed"] == "0"
    assert found["Versions"].count("torch") == 1
