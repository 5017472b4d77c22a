"""Whole runs of online methods on a tiny local model: what they leave, killed and resumed, skipped, changed,
and mistaken.
"""

import json
import random
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from online_runs import ALL, BOTH, MEASURES, ODD, PPO, STAGES, TARGETS, plugins, recipe_of
from safetensors.torch import load_file
from tiny_runs import WORDS, kill_once, run

from alignkit import Preferences
from alignkit.cli import main
from alignkit.data.loading import load
from alignkit.data.tokenizing import Tokenization
from alignkit.measure import Metric
from alignkit.models.pretrained import load_tokenizer
from alignkit.recipe import DataEntry, Model
from alignkit.registry import Registry
from alignkit.report.page import write_report
from alignkit.run.folder import StageFolder
from alignkit.run.manifest import read_manifest


@pytest.fixture(scope="module")
def finished(base, tmp_path_factory) -> Path:
    """A folder with a recipe, its plugins and its finished run, which tests copy before they change it."""
    folder = tmp_path_factory.mktemp("finished")
    output = run(recipe_of(folder, base, ALL), folder, *plugins(folder, **BOTH))
    assert "Done" in output
    return folder


@pytest.fixture(scope="module")
def made(finished) -> Path:
    return finished / "tiny"


def read_lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def weights(stage: Path, name: str = "adapter") -> bytes:
    return (stage / name / "adapter_model.safetensors").read_bytes()


def test_every_stage_is_done_a_block_of_stages_too(made):
    assert {folder.name for folder in made.iterdir() if folder.is_dir()} == set(STAGES)
    assert all(read_manifest(StageFolder(made / name)).done for name in STAGES)
    assert weights(made / "policy-1") != weights(made / "policy-2")


def test_ppo_leaves_the_policy_and_its_value_model_which_began_as_the_reward_model(made):
    assert (
        json.loads((made / "ppo" / "adapter" / "adapter_config.json").read_text())["task_type"] == "CAUSAL_LM"
    )
    value, judge = (
        load_file(made / stage / "adapter_model.safetensors")
        for stage in ("ppo/adapter-value", "judge/adapter")
    )
    assert value.keys() == judge.keys()
    (head,) = (key for key in value if "score" in key)
    assert head not in load_file(made / "ppo" / "adapter" / "adapter_model.safetensors")
    # Eight steps of at most the learning rate 1e-2 away from where it began.
    assert 0 < (value[head] - judge[head]).abs().max() <= 8.1e-2
    assert {folder.name for folder in (made / "reinforce").iterdir() if folder.is_dir()} >= {
        "adapter",
        "rollouts",
    }
    assert not (made / "reinforce" / "adapter-value").exists()


def test_the_mixtures_metrics_name_each_objective_and_the_rewards_beside_it(made):
    records = read_lines(made / "ppo" / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, 9))
    sampled = [record for record in records if "ppo/rollouts/reward" in record]
    assert [record["step"] for record in sampled] == [1, 5], "epochs × minibatches steps of each batch"
    for record in sampled:
        assert record["ppo/rollouts/reward"] == pytest.approx(record["ppo/rewards/judge"], abs=1e-5)
        assert record["ppo/rewards/letters"] > 0
    assert all("sft/loss" in record and "ppo/objective/kl" in record for record in records)


def test_several_rewards_are_summed_as_the_recipe_says(made):
    (record,) = read_lines(made / "reinforce" / "metrics.jsonl")
    # The standardized judge has mean 0; what is reported of it is its own mean.
    assert record["rollouts/reward"] == pytest.approx(0.1 * record["rewards/letters"], abs=1e-5)
    rollouts = read_lines(made / "reinforce" / "rollouts" / "reinforce" / "000000.jsonl")
    said = [completion for line in rollouts for completion in line["completions"]]
    assert len(said) == 4 * 4
    assert record["rewards/letters"] == pytest.approx(sum(map(len, said)) / len(said))


def test_samples_are_ranked_by_the_weighted_rewards_and_trained_on_without_an_end_they_had_not(made, base):
    drawn, ranked = read_lines(made / "drawn" / "samples.jsonl"), read_lines(made / "ranked" / "ranked.jsonl")
    assert len(drawn) == 40
    assert {finished for row in drawn for finished in row["finished"]} == {True, False}
    assert set("".join(text for row in drawn for text in row["completions"]).split()) <= set(WORDS)
    known = {
        (row["prompt"], *said)
        for row in drawn
        for said in zip(row["completions"], row["finished"], strict=True)
    }
    for row in ranked:
        assert {
            (row["prompt"], *said) for said in zip(row["completions"], row["finished"], strict=True)
        } <= known
        best = max(range(len(row["rewards"])), key=row["rewards"].__getitem__)
        assert row["ranks"][best] == 0
    tokenizer = load_tokenizer(Model(base=str(base)), Registry())
    data = load(
        DataEntry(path=str(made / "ranked" / "ranked.jsonl")),
        Preferences,
        name="ranked",
        tokenization=Tokenization(tokenizer, 64),
    )
    seen = [
        (completion, finished)
        for group in data.groups
        for completion, finished in zip(group.completions, group.columns["finished"], strict=True)
    ]
    assert {finished for _, finished in seen} == {0.0, 1.0}
    for completion, finished in seen:
        assert (completion[-1] == tokenizer.eos_token_id) == bool(finished)
        assert tokenizer.eos_token_id not in completion[:-1]


def test_an_evaluation_of_policies_has_each_reward_win_rates_and_measures(made):
    found = json.loads((made / "compared" / "evaluation.json").read_text())
    assert {key: found[key] for key in ("kind", "on", "against", "prompts", "per_prompt", "rewards")} == {
        "kind": "policies",
        "on": "shorter",
        "against": "ppo",
        "prompts": 10,
        "per_prompt": 2,
        "rewards": ["letters", "judge"],
    }
    assert list(found["targets"]) == TARGETS
    for name, row in found["targets"].items():
        won = (
            []
            if name == "ppo"
            else [f"{kind}/{by}" for kind in ("gain", "win_rate") for by in ("letters", "judge")]
        )
        assert sorted(row) == sorted(["letters", "judge", *won, *MEASURES])
        assert all(
            value["low"] <= value["mean"] <= value["high"]
            for value in row.values()
            if value["mean"] is not None
        )
    assert found["targets"]["ppo"]["kl"]["mean"] == pytest.approx(0, abs=1e-5), "no distance to itself"


def test_the_samples_of_an_evaluation_are_the_numbers_in_its_table(made):
    lines = read_lines(made / "compared" / "samples.jsonl")
    table = json.loads((made / "compared" / "evaluation.json").read_text())["targets"]
    assert len(lines) == 10
    for name in TARGETS:
        assert all(len(line["completions"][name]) == 2 for line in lines)
        for line in lines:
            assert line["scores"][name]["letters"] == [len(text) for text in line["completions"][name]]
        means = [sum(map(len, line["completions"][name])) / 2 for line in lines]
        assert table[name]["letters"]["mean"] == pytest.approx(sum(means) / len(means))
    assert table["policy-2 best of 3"]["letters"]["mean"] > table["policy-2"]["letters"]["mean"]


def test_an_evaluation_of_a_reward_model_is_on_pairs(made):
    found = json.loads((made / "judged" / "evaluation.json").read_text())
    assert found["kind"] == "reward models"
    assert set(found["targets"]["judge"]) == {
        "accuracy",
        "length_only_accuracy",
        "calibration_error",
        "length_correlation",
    }
    assert found["targets"]["judge"]["accuracy"]["count"] == 40
    assert sum(part["count"] for part in found["calibration"]["judge"]) == 40


def test_the_report_of_the_run_shows_every_stage_target_and_reward(made, tmp_path):
    shutil.copytree(made, tmp_path / "tiny")
    page = write_report(tmp_path / "tiny").read_text()
    measures = json.loads((made / "compared" / "evaluation.json").read_text())["measures"]
    for name in [
        *STAGES,
        *TARGETS,
        *(str(Metric(**measures[name])) for name in [*MEASURES, "letters"]),
        "win rate against ppo, judge",
    ]:
        assert name in page, name
    assert list((tmp_path / "tiny" / "report").glob("*.svg"))


def test_run_again_everything_is_skipped_and_a_changed_reward_does_again_what_used_it(
    finished, base, tmp_path
):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    recipe = recipe_of(tmp_path, base, ALL)
    assert run(recipe, tmp_path, *plugins(tmp_path, **BOTH)).count("unchanged since it was done") == len(
        STAGES
    )
    changed = {**BOTH, "spaces": BOTH["spaces"].replace("float(len", "2.0 + float(len")}
    output = run(recipe, tmp_path, *plugins(tmp_path, **changed))
    assert sorted(re.findall(r"superseded/(\w+)-", output)) == ["ranked", "tuned"]
    assert output.count("unchanged since it was done") == len(STAGES) - 2
    before, after = (
        read_lines(folder / "tiny" / "ranked" / "ranked.jsonl") for folder in (finished, tmp_path)
    )
    for old, new in zip(before, after, strict=True):
        assert new["rewards"] == pytest.approx([reward - 2 for reward in old["rewards"]])


def test_ppo_killed_at_any_moment_and_run_again_ends_with_the_same_bits(finished, base, tmp_path):
    (tmp_path / "tiny").mkdir()
    shutil.copytree(finished / "tiny" / "judge", tmp_path / "tiny" / "judge")
    recipe, more = recipe_of(tmp_path, base, PPO), plugins(tmp_path, **BOTH)
    stage = tmp_path / "tiny" / "ppo"
    step = random.Random().randint(2, 5)
    moments = [  # the first samples are on disk; some step is done; the second batch is prepared
        lambda: (stage / "rollouts" / "ppo" / "000000.jsonl").is_file(),
        lambda: (
            (stage / "metrics.jsonl").is_file() and (stage / "metrics.jsonl").read_text().count("\n") >= step
        ),
        lambda: (stage / "rollouts" / "ppo" / "000001").is_dir(),
    ]
    killed = [kill_once(recipe, tmp_path, due, *more) for due in moments]
    assert -signal.SIGKILL in killed
    assert "Done" in run(recipe, tmp_path, *more)
    for name in ("adapter", "adapter-value"):
        assert weights(stage, name) == weights(finished / "tiny" / "ppo", name), (
            f"killed at step {step}: {name}"
        )
    both = [
        read_lines(folder / "rollouts" / "ppo" / "000001.jsonl")
        for folder in (stage, finished / "tiny" / "ppo")
    ]
    assert both[0] == both[1]


def test_an_evaluation_killed_between_its_targets_goes_on_with_the_rest(finished, base, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    stage = tmp_path / "tiny" / "compared"
    shutil.rmtree(stage)
    recipe, more = recipe_of(tmp_path, base, ALL), plugins(tmp_path, **BOTH)
    first = stage / "targets" / "0.json"
    assert kill_once(recipe, tmp_path, first.is_file, *more) == -signal.SIGKILL
    assert not (stage / "evaluation.json").exists()
    sampled = first.stat().st_mtime_ns
    run(recipe, tmp_path, *more)
    assert first.stat().st_mtime_ns == sampled, "what was sampled is not sampled again"
    for name in ("evaluation.json", "samples.jsonl"):
        assert (stage / name).read_bytes() == (finished / "tiny" / "compared" / name).read_bytes()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("[1.0]", "found 1 scores for 8 prompts"),
        ("[float('nan')] * len(completions)", "found the score nan for the prompt '"),
        ("[0.0 / 0 for completion in completions]", "ZeroDivisionError"),
    ],
)
def test_a_mistaken_reward_is_one_message_with_its_name_and_the_prompt_and_nothing_is_trained(
    base, tmp_path, monkeypatch, capsys, answer, words
):
    text = ODD.format(answer=answer)
    stages = "  one: {train: {reinforce: {samples_per_prompt: 2}}, on: pairs, reward: odd, steps: 2}"
    arguments = [
        "run",
        str(recipe_of(tmp_path, base, stages)),
        "--out",
        str(tmp_path),
        *plugins(tmp_path, odd=text),
    ]
    monkeypatch.setattr(sys, "argv", ["alignkit", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    output = "".join(capsys.readouterr())
    assert "Traceback" not in output
    assert "reward 'odd'" in output
    assert words in output
    prompts = [row["prompt"] for row in read_lines(base / "pairs.jsonl")]
    assert any(repr(prompt) in output for prompt in prompts)
    assert (tmp_path / "tiny" / "one" / "metrics.jsonl").read_text() == ""
    assert not (tmp_path / "tiny" / "one" / "adapter").exists()
    assert not read_manifest(StageFolder(tmp_path / "tiny" / "one")).done
