"""Whole runs with observers and another optimizer: stopped, killed and resumed, skipped, and mistaken."""

import json
import signal

from tiny_runs import kill_when, run, write_recipe

PLUGIN = """
from alignkit import Observer, Stop, hookimpl


class Fifth(Observer):
    name = "fifth"
    stops = True
    fails: bool = False

    def on_step(self, step, steps, metrics):
        if step == 5 and self.fails:
            raise ValueError("no")
        return Stop("it is the fifth") if step == 5 else None


@hookimpl
def register_observers(register):
    register(Fifth)
"""
STAGES = "  one: {train: sft, on: pairs, optimizer: muon, observers: fifth}"


def plugin(folder):
    (folder / "fifth.py").write_text(PLUGIN)
    return "--plugin", str(folder / "fifth.py")


def test_a_stopped_stage_is_done_and_says_who_stopped_it(base, tmp_path):
    recipe, more = write_recipe(tmp_path, base, STAGES), plugin(tmp_path)
    output = run(recipe, tmp_path, *more)
    assert "stopped after step 5 of 12 by fifth: it is the fifth" in output
    stage = tmp_path / "tiny" / "one"
    summary = json.loads((stage / "summary.json").read_text())
    assert summary["steps"] == 5
    assert summary["stopped"] == {"step": 5, "steps": 12, "by": "fifth", "reason": "it is the fifth"}
    assert "held_out/loss" in summary
    assert (stage / "adapter" / "adapter_model.safetensors").is_file()
    assert "unchanged since it was done" in run(recipe, tmp_path, *more)
    changed = run(recipe, tmp_path, *more, "stages.one.observers=[]")
    assert "its inputs changed" in changed
    assert len((stage / "metrics.jsonl").read_text().splitlines()) == 12


def test_a_killed_run_stops_at_the_same_step_with_the_same_bits(base, tmp_path):
    more = plugin(tmp_path)
    recipe = write_recipe(tmp_path, base, STAGES)
    run(recipe, tmp_path / "whole", *more)
    assert kill_when(recipe, tmp_path / "cut", 4, signal.SIGKILL, *more) in (0, -signal.SIGKILL)
    run(recipe, tmp_path / "cut", *more)
    whole, cut = (
        tmp_path / name / "tiny" / "one" / "adapter" / "adapter_model.safetensors"
        for name in ("whole", "cut")
    )
    assert whole.read_bytes() == cut.read_bytes()


def test_an_observer_that_fails_is_one_message_with_its_file_and_line_after_saving(base, tmp_path):
    stages = "  one: {train: sft, on: pairs, observers: {fifth: {fails: true}}}"
    output = run(write_recipe(tmp_path, base, stages), tmp_path, *plugin(tmp_path), code=2)
    assert "fifth.py:12: `on_step` of the observer 'fifth' failed: ValueError: no" in output
    assert "Traceback" not in output
    assert (tmp_path / "tiny" / "one" / "checkpoints" / "step-00000005").is_dir()
