"""A whole run with several seeds on a tiny model: what they decide, and what is kept when there are more."""

import json
from pathlib import Path

import pytest
from online_runs import recipe_of
from safetensors.torch import load_file
from tiny_runs import run

STAGES = """  made:
    seeds: 2
    stages:
      drawn: {sample: base, on: pairs, per_prompt: 2, max_tokens: 5}
      ranked: {label: drawn, by: length, noise: 1.0}
      judge: {train: bradley-terry, on: ranked, steps: 1, learning_rate: 1e-12}
      policy: {train: dpo, on: ranked, steps: 2}
  noisy: {label: drawn-seed-1, by: length, noise: 1.0, seeds: 2}
  judged: {evaluate: judge, on: pairs}
  compared:
    evaluate: [policy, base, {base: {best_of: 2, by: judge}}]
    on: shorter
    by: sentiment
    max_tokens: 5
    show: 1
"""
KINDS = ("drawn", "ranked", "judge", "policy", "noisy")


@pytest.fixture(scope="module")
def finished(base, tmp_path_factory):
    """A folder with the run, and what it printed."""
    folder = tmp_path_factory.mktemp("seeds")
    return folder, run(recipe_of(folder, base, STAGES), folder)


@pytest.fixture(scope="module")
def made(finished) -> Path:
    return finished[0] / "tiny"


def evaluation(stage: Path):
    return json.loads((stage / "evaluation.json").read_text())


def test_every_stage_is_there_once_for_each_seed_and_evaluations_once(made):
    expected = {f"{name}-seed-{number}" for name in KINDS for number in (1, 2)} | {"judged", "compared"}
    assert {folder.name for folder in made.iterdir() if folder.is_dir()} == expected
    manifests = {name: json.loads((made / name / "manifest.json").read_text()) for name in expected}
    assert {name: manifest["inputs"]["seed"] for name, manifest in manifests.items() if "seed-" in name} == {
        f"{name}-seed-{number}": number - 1 for name in KINDS for number in (1, 2)
    }
    assert set(manifests["policy-seed-2"]["inputs"]["reads"]) == {"ranked-seed-2"}


@pytest.mark.parametrize(
    ("stage", "file"), [("drawn", "samples.jsonl"), ("noisy", "ranked.jsonl"), ("policy", "metrics.jsonl")]
)
def test_a_seed_decides_samples_noise_and_training(made, stage, file):
    """The two labels of `noisy` rank the same samples."""
    assert (made / f"{stage}-seed-1" / file).read_text() != (made / f"{stage}-seed-2" / file).read_text()


def test_a_seed_decides_how_a_new_adapter_begins(made):
    """The learning rate of `judge` is so small that its adapter is the one with which it began."""
    one, two = (
        load_file(made / f"judge-seed-{number}" / "adapter" / "adapter_model.safetensors")
        for number in (1, 2)
    )
    key = next(name for name in one if "lora_A" in name)
    assert (one[key] - two[key]).abs().max() > 0.01


def test_rows_are_means_over_seeds_and_each_seed_stands_beside_them(made):
    for stage, targets in (("judged", ["judge"]), ("compared", ["policy", "base best of 2"])):
        found = evaluation(made / stage)
        assert list(found["each"]) == targets
        for name in targets:
            assert list(found["each"][name]) == [f"{name}-seed-1", f"{name}-seed-2"]
            for measure, interval in found["targets"][name].items():
                means = [row[measure]["mean"] for row in found["each"][name].values()]
                if None not in means:
                    assert interval["mean"] == pytest.approx(sum(means) / 2), measure
    assert list(evaluation(made / "compared")["targets"]) == ["policy", "base", "base best of 2"]


def test_the_end_says_what_is_better_and_shows_an_answer_of_each(finished):
    output = finished[1]
    assert "policy (2 seeds): sentiment" in output
    assert "base best of 2 (2 seeds): sentiment" in output
    assert "the first 1 of 10 prompts, and the first answer of each target" in output


def test_more_seeds_keep_the_first_ones_and_more_answers_keep_the_evaluation(finished, base):
    folder, _ = finished
    recipe = recipe_of(folder, base, STAGES)
    again = run(recipe, folder, "stages.compared.show=2")
    assert again.count("unchanged since it was done; skipped") == 12
    more = run(recipe, folder, "stages.made.seeds=3")
    assert more.count("unchanged since it was done; skipped") == 10
    assert len(evaluation(folder / "tiny" / "compared")["each"]["policy"]) == 3
