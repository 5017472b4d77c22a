"""The words for results, for the pace of a training, for the run's facts, and for numbers."""

import json
from dataclasses import replace

from fake_run import data_report, interval, make_record, write_evaluation, write_stage

from alignkit.report.describing import data_rows, facts, pace, quantization_line, summary_line, warnings
from alignkit.report.reading import read_run
from alignkit.report.records import Quantization, RunRecord
from alignkit.run.hardware import Hardware
from alignkit.run.kept_recipe import KeptRecipe


def test_an_evaluation_is_told_by_its_line_and_who_is_ahead(tmp_path):
    write_evaluation(
        tmp_path,
        "compare",
        {"base": {"sentiment": interval(0.2, 0.1)}, "sft": {"sentiment": interval(0.3, 0.1)}},
        reads=[],
    )
    (stage,) = read_run(tmp_path).stages
    assert stage.line == "evaluate base, sft on prompts by sentiment + reward, against base"
    assert summary_line(stage) == "highest sentiment: sft, 0.300 (intervals overlap)"


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


def test_hardware_and_time_are_told_where_a_manifest_has_them():
    old = make_record()
    run = RunRecord("r", (old,))
    assert {"Hardware", "Time"}.isdisjoint(facts(run))
    hardware = Hardware("Tiny CPU", 2, 15.6, "float32")
    timed = replace(old, manifest=replace(old.manifest, hardware=hardware, seconds=75.0))
    found = facts(RunRecord("r", (timed, timed)))
    assert found["Hardware"] == "Tiny CPU, 2 CPU cores, 16 GB of memory, float32"
    assert found["Time"] == "2 min 30 s"


def test_the_cost_of_quantization_is_told_and_above_a_twentieth_of_a_nat_it_is_a_warning():
    dear = Quantization("nf4", 2.6, 2.19, 0.41, 0.35, 0.47, 32)
    line = "nf4 costs 0.41 nats per token (0.35 to 0.47) on 32 completions: 2.19 → 2.60"
    stage = replace(make_record(), quantization=dear)
    assert quantization_line(stage) == line
    kept = KeptRecipe(("s",))
    assert warnings(RunRecord("r", (stage,), kept)) == [
        f"s: {line}. Its numbers are those of a damaged base."
    ]
    cheap = replace(stage, quantization=replace(dear, cost=0.05))
    assert not warnings(RunRecord("r", (cheap,), kept))


def test_a_cost_that_was_not_measured_says_why():
    stage = replace(make_record(), quantization=Quantization("int8", why="too little memory"))
    assert quantization_line(stage) == "int8: its cost was not measured: too little memory"
    assert quantization_line(make_record()) == ""


def test_a_run_without_its_recipe_and_stages_that_left_it_are_told():
    stage = make_record()
    assert "without its recipe" in warnings(RunRecord("r", (stage,)))[0]
    assert warnings(RunRecord("r", (stage,), KeptRecipe(("other",))))[0].startswith(
        "Not in the recipe any more: s."
    )


def test_the_data_table_tells_what_was_used_and_why_the_rest_was_not():
    (row,) = data_rows(replace(make_record(), data=json.loads(data_report())))
    assert row["used"] == "251"
    assert row["dropped"] == "5"
    assert row["truncated"] == "3"
    assert row["reasons"] == "5 × all completions tie (first at ranked.jsonl:2)"
