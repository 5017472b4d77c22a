"""Whole runs from the command line on a tiny local model: killed and resumed, skipped, changed, locked, and
mistaken.
"""

import json
import random
import signal
import subprocess
import sys

import pytest
import torch
from filelock import FileLock
from peft import PeftModel
from safetensors.torch import load_file
from tiny_runs import WORDS, environment, kill_when, run, write_recipe
from transformers import AutoModelForCausalLM

FOUR = {
    name: f"  one: {{train: {name}, on: pairs}}" for name in ("sft", "bradley-terry", "dpo", "unlikelihood")
}


@pytest.mark.parametrize("objective", FOUR)
def test_killed_at_random_steps_and_run_again_it_ends_with_the_same_bits(objective, base, tmp_path):
    recipe = write_recipe(tmp_path, base, FOUR[objective])
    run(recipe, tmp_path / "whole")
    rng = random.Random(objective)
    killed = [kill_when(recipe, tmp_path / "cut", step) for step in sorted(rng.sample(range(1, 11), 2))]
    assert -signal.SIGKILL in killed
    output = run(recipe, tmp_path / "cut")
    assert "resuming after step" in output or killed[-1] == 0
    whole, cut = (
        tmp_path / name / "tiny" / "one" / "adapter" / "adapter_model.safetensors"
        for name in ("whole", "cut")
    )
    assert whole.read_bytes() == cut.read_bytes()
    assert any(value.abs().max() > 0 for key, value in load_file(cut).items() if "lora_B" in key)


def test_sigterm_saves_a_checkpoint_and_exits_with_143(base, tmp_path):
    changes = ("training.steps=400", "training.save_every=1000")
    recipe = write_recipe(tmp_path, base, FOUR["dpo"], *changes)
    assert kill_when(recipe, tmp_path, 2, signal.SIGTERM) == 143
    assert list((tmp_path / "tiny" / "one" / "checkpoints").glob("step-*"))


def test_a_damaged_checkpoint_is_named_and_an_earlier_one_used(base, tmp_path):
    recipe = write_recipe(tmp_path, base, FOUR["sft"])
    run(recipe, tmp_path / "whole")
    kill_when(recipe, tmp_path / "cut", 7)
    newest = sorted((tmp_path / "cut" / "tiny" / "one" / "checkpoints").glob("step-*"))[-1]
    damaged = newest / "tensors.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"oops")
    output = run(recipe, tmp_path / "cut")
    assert f"checkpoint {newest.name} is damaged" in output
    whole, cut = (
        tmp_path / name / "tiny" / "one" / "adapter" / "adapter_model.safetensors"
        for name in ("whole", "cut")
    )
    assert whole.read_bytes() == cut.read_bytes()


def test_finished_stages_are_skipped_and_changed_ones_run_again_with_those_after_them(base, tmp_path):
    stages = """  sft: {train: sft, on: pairs, steps: 2}
  dpo: {train: dpo, on: pairs, start: sft, steps: 2}
  other: {train: sft, on: pairs, steps: 1}
"""
    recipe = write_recipe(tmp_path, base, stages)
    run(recipe, tmp_path)
    assert run(recipe, tmp_path).count("unchanged since it was done") == 3
    output = run(recipe, tmp_path, "stages.sft.learning_rate=1e-3")
    assert output.count("unchanged since it was done") == 1
    assert output.count("its inputs changed") == 2
    assert len(list((tmp_path / "tiny" / "superseded").iterdir())) == 2


def test_a_folder_without_a_readable_manifest_is_set_aside_not_resumed(base, tmp_path):
    recipe = write_recipe(tmp_path, base, FOUR["sft"])
    run(recipe, tmp_path)
    (tmp_path / "tiny" / "one" / "manifest.json").write_text("{")
    output = run(recipe, tmp_path)
    assert "manifest is missing or unreadable" in output
    assert "resuming" not in output
    assert (tmp_path / "tiny" / "superseded" / "one-unknown-0" / "adapter").is_dir()


def test_sampled_and_labelled_completions_are_data_for_training(base, tmp_path):
    plugin = tmp_path / "spelling.py"
    plugin.write_text(
        "from alignkit import hookimpl\n\n"
        "def letters(prompts, completions, **columns):\n    return [float(len(c)) if c else None for c in "
        "completions]\n\n"
        "@hookimpl\ndef register_rewards(register):\n    register(letters)\n"
    )
    stages = (
        "  drawn: {sample: base, on: pairs, per_prompt: 3, max_tokens: 6}\n  ranked: {label: drawn, by: "
        "letters}\n"
        "  reward: {train: bradley-terry, on: ranked, steps: 2}"
    )
    run(write_recipe(tmp_path, base, stages), tmp_path, "--plugin", str(plugin))
    rows = [
        json.loads(line) for line in (tmp_path / "tiny" / "ranked" / "ranked.jsonl").read_text().splitlines()
    ]
    assert len(rows) > 30
    for row in rows:
        assert all(row["completions"])
        longest = max(range(len(row["rewards"])), key=lambda k: row["rewards"][k])
        assert row["ranks"][longest] == 0
        assert row["rewards"] == [len(completion) for completion in row["completions"]]


def test_a_plugin_file_of_fifteen_lines_trains(base, tmp_path):
    plugin = tmp_path / "direct.py"
    plugin.write_text(
        '''from torch.nn import functional as F

from alignkit import Batch, Field, Loss, Objective, Preferences, hookimpl


class Direct(Objective):
    """Direct preference optimization."""

    name = "direct"
    data = Preferences
    trains = {"policy"}
    reads = {"reference"}
    beta: float = Field(0.1, gt=0)

    def loss(self, batch: Batch) -> Loss:
        logratio = ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)
        pairs = batch.pairs()
        margin = self.beta * (logratio[pairs.winner] - logratio[pairs.loser])
        return Loss(-F.logsigmoid(margin), pairs.weight, {"rewards/margins": margin})


@hookimpl
def register_objectives(register):
    register(Direct)
'''
    )
    recipe = write_recipe(
        tmp_path, base, "  one: {train: {direct: {beta: 0.1}}, on: pairs}\n  two: {train: dpo, on: pairs}"
    )
    run(recipe, tmp_path, "--plugin", str(plugin))
    one, two = (tmp_path / "tiny" / name / "adapter" / "adapter_model.safetensors" for name in ("one", "two"))
    found, expected = load_file(one), load_file(two)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-4, rtol=0)


def test_a_trained_policy_is_exported_and_answers(base, tmp_path):
    run(write_recipe(tmp_path, base, FOUR["dpo"]), tmp_path)
    stage, merged = tmp_path / "tiny" / "one", tmp_path / "merged"
    alignkit = [sys.executable, "-c", "from alignkit.cli import main; main()"]

    def call(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [*alignkit, *arguments],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    call("export", str(stage), "--to", str(merged), "--merged")
    assert "nothing is overwritten" in call("export", str(stage), "--to", str(merged), "--merged", code=2)
    assert "holds no trained adapter" in call(
        "sample", str(tmp_path / "tiny" / "two"), "--prompt", "red cat", code=2
    )
    assert set(call("sample", str(stage), "--prompt", "red cat", "--max-tokens", "5").split()) <= set(WORDS)

    ids = torch.tensor([[3, 4, 5, 6]])
    adapted = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), str(stage / "adapter")
    )
    plain = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    assert not torch.equal(
        plain(ids).logits, AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)(ids).logits
    )
    # merged in bfloat16
    torch.testing.assert_close(plain(ids).logits, adapted(ids).logits, atol=0.1, rtol=0.05)


def test_a_second_process_on_the_same_run_is_refused(base, tmp_path):
    (tmp_path / "tiny").mkdir()
    with FileLock(tmp_path / "tiny" / ".lock"):
        assert "another process is running" in run(
            write_recipe(tmp_path, base, FOUR["sft"]), tmp_path, code=2
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("stages.one.train=sftt", "Did you mean 'sft'"),
        ("stages.one.train={dpo: {betta: 1}}", "stages.one.train.dpo.betta"),
        ("stages.one.train={dpo: {beta: -1}}", "greater than 0"),
        ("data.pairs.path={base}/pears.jsonl", "Did you mean 'pairs.jsonl'"),
        ("training.held_out={path: nothing.jsonl}", "nothing.jsonl"),
        ("model.base=./missing", "model.base"),
        ("training.trackers=[nonsense]", "training.trackers"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(base, tmp_path, change, words):
    output = run(
        write_recipe(tmp_path, base, FOUR["sft"]), tmp_path, change.replace("{base}", str(base)), code=2
    )
    assert words in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.base=nobody/nothing-of-this-name", "Check the spelling and the network"),
        ("data.pairs.path=nobody/no-data-of-this-name", "nobody/no-data-of-this-name"),
    ],
)
def test_without_a_network_a_hub_name_is_one_message(base, tmp_path, override, words):
    output = run(write_recipe(tmp_path, base, FOUR["sft"]), tmp_path, override, code=2)
    assert words in output
    assert "Traceback" not in output


def test_a_missing_column_names_what_was_found_and_expected(base, tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "red cat", "choosen": "runs", "rejected": "sleeps"}\n')
    recipe = write_recipe(tmp_path, base, FOUR["dpo"])
    output = run(recipe, tmp_path, f"data.pairs.path={data}", code=2)
    assert "choosen" in output
    assert "chosen" in output
    assert "Traceback" not in output
