"""Previews of whole stages: which prompts they take, and that no result depends on them."""

import json

import pytest
from tiny_runs import write_recipe
from tiny_stages import run_here

STAGES = """  sft: {train: sft, on: pairs}
  judge: {train: bradley-terry, on: pairs}
  online: {train: {ppo: {samples_per_prompt: 2, epochs: 2}}, on: pairs, reward: judge, start: sft,
    sampling: {max_tokens: 4}}
"""
PREVIEWS = ("training.preview_every=5", "training.previews=2", "training.sampling.max_tokens=4")


def lines(folder):
    return [json.loads(line) for line in (folder / "previews.jsonl").read_text().split("\n")[:-1]]


@pytest.fixture(scope="module")
def runs(base, tmp_path_factory):
    """The same run with previews and without."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = write_recipe(folder, base, STAGES)
    text = run_here(recipe, folder / "with", *PREVIEWS)
    run_here(recipe, folder / "without", "training.sampling.max_tokens=4")
    return folder, recipe, text


def test_stages_that_train_a_policy_have_previews_and_others_none(runs):
    folder, _, text = runs
    for stage in ("sft", "online"):
        found = lines(folder / "with" / "tiny" / stage)
        assert [line["step"] for line in found] == [0, 0, 5, 5, 10, 10, 12, 12]
        assert len({line["prompt"] for line in found}) == 2
        assert "step 12  " in text
    assert not (folder / "with" / "tiny" / "judge" / "previews.jsonl").exists()


def test_prompts_are_held_out_where_the_stage_has_held_out_prompts(runs, base):
    folder, _, _ = runs
    rows = [json.loads(line) for line in (base / "pairs.jsonl").read_text().splitlines()]
    assert all(line["held_out"] for line in lines(folder / "with" / "tiny" / "sft"))
    # a share is left out of nothing where the stage samples for itself
    online = lines(folder / "with" / "tiny" / "online")
    assert not any(line["held_out"] for line in online)
    assert [line["prompt"] for line in online[:2]] == [row["prompt"] for row in rows[:2]]


def test_held_out_data_gives_the_prompts_of_a_stage_that_samples_for_itself(base, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"prompt": "red cat"}\n{"prompt": "blue dog"}\n{"prompt": "now"}\n')
    stages = "  one: {train: reinforce, on: pairs, reward: length, steps: 3, sampling: {max_tokens: 6}}"
    recipe = write_recipe(tmp_path, base, stages, f"training.held_out={other}")
    run_here(recipe, tmp_path, *PREVIEWS[:2])
    found = lines(tmp_path / "tiny" / "one")
    assert [(line["step"], line["prompt"], line["held_out"]) for line in found] == [
        (step, prompt, True) for step in (0, 3) for prompt in ("red cat", "blue dog")
    ]


def test_results_have_the_same_bits_and_the_same_fingerprint_with_and_without(runs):
    folder, recipe, _ = runs
    for stage in ("sft", "judge", "online"):
        with_, without = (folder / name / "tiny" / stage for name in ("with", "without"))
        for file in sorted(with_.glob("adapter*/*.safetensors")):
            assert file.read_bytes() == (without / file.relative_to(with_)).read_bytes(), file
    again = run_here(recipe, folder / "without", *PREVIEWS)
    assert again.count("unchanged since it was done") == 3
    assert again.count("skipped") == 6  # and in the table at the end
