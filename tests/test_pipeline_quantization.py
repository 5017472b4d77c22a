"""Whole runs whose recipe leaves the quantization open."""

import json

from tiny_runs import run, write_recipe

STAGE = "  one: {train: sft, on: pairs, steps: 2}"


def test_auto_and_what_it_chose_are_one_and_the_same_stage(base, tmp_path):
    auto = write_recipe(tmp_path, base, STAGE, "model.quantization=auto")
    said = run(auto, tmp_path / "runs")
    first = said.splitlines()[0]
    assert first.startswith(f"model {base}: 19,680 parameters, not quantized: ")
    assert first.endswith("in float32 (auto)")
    manifest = json.loads((tmp_path / "runs" / "tiny" / "one" / "manifest.json").read_text())
    assert manifest["inputs"]["model"]["quantization"] == "none"
    by_name = write_recipe(tmp_path, base, STAGE, "model.quantization=none")
    assert "unchanged since it was done; skipped" in run(by_name, tmp_path / "runs")


def test_check_says_what_the_run_will_choose(alignkit, base, tmp_path):
    recipe = write_recipe(tmp_path, base, STAGE, "model.quantization=auto")
    out, _ = alignkit("check", recipe)
    assert out.splitlines()[1].strip() in run(recipe, tmp_path / "runs")
