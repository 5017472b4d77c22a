"""What quantization costs is told once for the same tokens, and written beside every stage."""

import json

import pytest
from tiny_runs import run, write_recipe

from alignkit.run.folder import RunFolder

STAGES = """  one: {train: sft, on: pairs, steps: 2}
  two: {train: sft, on: pairs, steps: 2, start: one}
  drawn: {sample: two, on: pairs, per_prompt: 1, max_tokens: 3}
  three: {evaluate: [base, two], on: pairs, by: length, max_tokens: 3}
"""
KEYS = {
    "quantization",
    "block_size",
    "dtype",
    "loss",
    "unquantized",
    "cost",
    "low",
    "high",
    "completions",
    "tokens",
    "of",
}


@pytest.fixture(scope="module")
def made(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    recipe = write_recipe(folder, base, STAGES, "model.quantization=fp4", "model.block_size=32")
    return recipe, folder, run(recipe, folder)


def told(text):
    return [line for line in text.splitlines() if " costs " in line]


def test_each_kind_of_tokens_is_measured_once_and_told(made):
    _, folder, said = made
    first, second = told(said)
    assert "fp4 in blocks of 32 costs" in first
    assert "32 completions" in first, "of 40 pairs, 32 are trained on"
    assert " prompts, " in second
    costs = {
        name: json.loads((folder / "tiny" / name / "quantization.json").read_text())
        for name in ("one", "two", "drawn", "three")
    }
    assert all(set(cost) == KEYS for cost in costs.values())
    assert costs["one"] == costs["two"] != costs["drawn"] == costs["three"]
    assert len(json.loads(RunFolder(folder / "tiny").quantization_costs.read_text())) == 2


def test_a_stage_that_is_done_again_uses_what_was_measured(made):
    recipe, folder, _ = made
    file = folder / "tiny" / "one" / "quantization.json"
    before = file.read_text()
    file.unlink()
    said = run(recipe, folder)
    assert "done again" in said
    assert not told(said)
    assert file.read_text() == before


def test_the_measurement_changes_nothing_that_is_trained(made, base, tmp_path):
    recipe, folder, _ = made
    out = tmp_path / "runs"
    plugin = tmp_path / "unmeasured.py"
    plugin.write_text(
        "import alignkit.stages.train.work as work\nwork.tell_quantization_cost = lambda *parts: None\n"
    )
    run(recipe, out, "--plugin", str(plugin))
    name = "tiny/one/adapter/adapter_model.safetensors"
    assert (out / name).read_bytes() == (folder / name).read_bytes()


def test_an_unquantized_base_has_no_cost(base, tmp_path):
    recipe = write_recipe(tmp_path, base, "  one: {train: sft, on: pairs, steps: 1}")
    assert not told(run(recipe, tmp_path))
    assert not (tmp_path / "tiny" / "one" / "quantization.json").exists()
