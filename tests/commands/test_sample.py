"""`alignkit sample`: an answer, a chat, and the best of several answers."""

import io
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import WORDS, run, write_recipe

from alignkit import chat, recipe
from alignkit.chat import Chat
from alignkit.example import Group
from alignkit.models.base import load_base
from alignkit.models.computing import compute_signals
from alignkit.models.roles import Roles
from alignkit.registry import Registry
from alignkit.sampler import Sampling

ROOT = Path(__file__).resolve().parents[2]
STAGES = """  policy: {train: sft, on: pairs, steps: 1}
  reward: {train: bradley-terry, on: pairs, steps: 4, learning_rate: 0.1}
"""
REWARDS = """from alignkit import Reward, hookimpl

class Likely(Reward):
    name = "likely"
    uses = {"policy"}

    def score(self, prompts, completions, engine, **columns):
        return [sum(logps) for logps in engine.logps("policy", prompts, completions)]

def words(prompts, completions, **columns):
    return [float(len(completion.split())) for completion in completions]

def mute(prompts, completions, **columns):
    return [None for _ in completions]

@hookimpl
def register_rewards(register):
    register(words)
    register(mute)
    register(Likely)
"""


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory) -> Path:
    """A run with a policy and a reward model."""
    folder = tmp_path_factory.mktemp("run")
    run(write_recipe(folder, base, STAGES), folder)
    (folder / "rewards_of_mine.py").write_text(REWARDS)
    return folder / "tiny"


SMALL = ("--prompt", "red cat", "--max-tokens", 5, "--temperature", 1)


def test_the_answer_is_the_sample_that_the_reward_model_scores_highest(base, trained):
    settings = Sampling(8, max_tokens=5, seed=3)
    chat = Chat(trained / "policy", settings, reward=str(trained / "reward"))
    answer = chat.answer("red cat")

    spec = recipe.Model(base=str(base), quantization="none", dtype="float32")
    ids = chat.tokenization.prompt_ids("red cat")
    [drawn] = chat.sampler.sample("policy", [ids], settings)
    judge = Roles(load_base(spec, Registry(), torch.device("cpu")), spec.lora, 0)
    judge.add("reward", trainable=False, start=trained / "reward" / "adapter")
    group = Group(ids, tuple(sample.tokens for sample in drawn))
    scores = compute_signals(judge, [group], ["reward"], 4096)["scores"]
    assert scores.std() > 0.01
    torch.testing.assert_close(torch.tensor(answer.scores), scores, atol=1e-5, rtol=1e-4)
    assert answer.text == chat.roles.base.text(drawn[int(scores.argmax())].tokens)


def test_policy_and_reward_model_share_one_base_in_memory(trained):
    roles = Chat(trained / "policy", Sampling(2), reward=str(trained / "reward")).roles
    embeddings = [name for name, _ in roles.model.named_parameters() if "embed_tokens" in name]
    assert len(embeddings) == 1
    assert {role.adapter for role in roles.roles.values()} == {"policy", "reward-reward"}


def test_the_command_prints_the_answer_and_to_stderr_the_scores(alignkit, trained):
    out, err = alignkit("sample", trained / "policy", *SMALL, "--best-of", 8, "--reward", trained / "reward")
    assert set(out.split()) <= set(WORDS)
    found = re.fullmatch(r"best of 8: score (\S+), mean (\S+)\n", err)
    assert found
    assert float(found[1]) > float(found[2])


def test_a_reward_of_a_plugin_file_chooses_too(alignkit, trained):
    plugin = ("--plugin", trained.parent / "rewards_of_mine.py")
    out, err = alignkit("sample", trained / "policy", *SMALL, "--best-of", 16, "--reward", "words", *plugin)
    assert err.startswith(f"best of 16: score {len(out.split())}, mean ")


def test_a_reward_may_ask_the_policy_itself(trained):
    plugins = [trained.parent / "rewards_of_mine.py"]
    chat = Chat(trained / "policy", Sampling(4, max_tokens=5, seed=3), reward="likely", plugins=plugins)
    scores = chat.answer("red cat").scores
    assert all(score < 0 for score in scores)
    assert len(set(scores)) > 1


def test_where_the_reward_abstains_from_all_it_is_said_and_the_first_sample_given(alignkit, trained):
    plugin = ("--plugin", trained.parent / "rewards_of_mine.py")
    out, err = alignkit("sample", trained / "policy", *SMALL, "--best-of", 4, "--reward", "mute", *plugin)
    assert "no opinion" in err
    assert out == alignkit("sample", trained / "policy", *SMALL)[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--best-of", "4"], "--best-of needs --reward too"),
        (["--reward", "sentiment"], "--reward needs --best-of too"),
        (["--best-of", "4", "--reward", "sentimnt"], "Did you mean 'sentiment'"),
        (["--best-of", "4", "--reward", "sentiment", "--temperature", "0"], "all answers are the same"),
        (["--best-of", "4", "--reward", "{run}/policy"], "is no reward model, it trains policy"),
        (["--best-of", "4", "--reward", "{run}"], "holds no trained adapter"),
    ],
)
def test_a_mistake_about_the_reward_is_one_message(alignkit, trained, options, words):
    options = [option.format(run=trained) for option in options]
    assert words in alignkit("sample", trained / "policy", "--prompt", "red", *options, code=2)[1]


@pytest.mark.parametrize(("key", "value"), [("content", "other"), ("quantization", "nf4")])
def test_a_reward_model_over_another_base_is_refused(alignkit, trained, tmp_path, key, value):
    shutil.copytree(trained / "reward", tmp_path / "reward")
    manifest = json.loads((tmp_path / "reward" / "manifest.json").read_text())
    manifest["inputs"]["model"][key] = value
    (tmp_path / "reward" / "manifest.json").write_text(json.dumps(manifest))
    err = alignkit(
        "sample",
        trained / "policy",
        "--prompt",
        "red",
        "--best-of",
        2,
        "--reward",
        tmp_path / "reward",
        code=2,
    )[1]
    assert "Both must share one base" in err


def test_a_name_that_is_a_reward_and_a_folder_is_not_guessed_at(alignkit, trained, tmp_path, monkeypatch):
    shutil.copytree(trained / "reward", tmp_path / "sentiment")
    monkeypatch.chdir(tmp_path)
    options = ("--prompt", "red", "--max-tokens", 3, "--best-of", 2, "--reward")
    assert (
        "both a registered reward and a folder"
        in alignkit("sample", trained / "policy", *options, "sentiment", code=2)[1]
    )
    assert "best of 2" in alignkit("sample", trained / "policy", *options, "./sentiment")[1]


@pytest.mark.parametrize("typed", ["red cat\n", "red cat\n\n", "red cat\n\nblue dog\n"])
def test_a_chat_ends_with_an_empty_line_or_with_the_input(alignkit, monkeypatch, tmp_path, typed):

    class Parrot:
        def __init__(self, *args, **options):
            pass

        def answer(self, text):
            return SimpleNamespace(text=text.upper(), scores=())

    monkeypatch.setattr(chat, "Chat", Parrot)
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    out, err = alignkit("sample", tmp_path)
    assert "model: RED CAT\n" in out
    assert "BLUE" not in out
    assert "Aborted" not in err
