"""TRL's reward functions as rewards: which there are, how they are called, and what is missing."""

import importlib
import inspect
import math
import subprocess
import sys

import pytest
from trl import rewards

import alignkit_trl_rewards as plugin
from alignkit import UserError

THOUGHT, RAMBLED = "<think>\nTwo and two.\n</think>\nFour.", "Four. <think>Two and two.</think>"
IDS = [[3, 4, 3, 4, 3, 4, 1], [5] * 9, list(range(20)), [1]]


@pytest.fixture
def verifiers(monkeypatch):
    """As if math-verify were installed."""
    monkeypatch.setattr(plugin, "find_spec", lambda package: package)


def registered():
    found = []
    plugin.register_rewards(found.append)
    return {reward.name: reward for reward in found}


def recording(calls, answer):
    return lambda **arguments: calls.append(arguments) or answer


def test_every_function_of_the_installed_trl_is_registered():
    functions = {name for name in rewards.__all__ if inspect.isfunction(getattr(rewards, name))}

    assert {name.removeprefix("trl/") for name in registered()} == {
        name.removeprefix("get_") for name in functions
    }


@pytest.mark.parametrize(
    ("cls", "function", "options"),
    [
        (plugin.RepetitionPenalty, rewards.get_repetition_penalty_reward, {}),
        (
            plugin.RepetitionPenalty,
            rewards.get_repetition_penalty_reward,
            {"ngram_size": 2, "max_penalty": -0.5},
        ),
        (
            plugin.SoftOverlongPunishment,
            rewards.get_soft_overlong_punishment,
            {"max_completion_len": 10, "soft_punish_cache": 5},
        ),
        (
            plugin.SoftOverlongPunishment,
            rewards.get_soft_overlong_punishment,
            {"max_completion_len": 7, "soft_punish_cache": 0},
        ),
    ],
)
def test_those_of_tokens_give_trls_scores_of_the_ids(cls, function, options):
    scores = cls(**options).score(["?"] * 4, ["a"] * 4, completion_ids=IDS)

    assert scores == function(**options)(completion_ids=IDS)
    assert len(set(scores)) > 1


def test_the_cosine_scales_accuracy_by_the_number_of_tokens(monkeypatch, verifiers):
    module = importlib.import_module("trl.rewards.accuracy_rewards")
    monkeypatch.setattr(module, "accuracy_reward", lambda completions, solution: [1.0, 0.0, None, 1.0])

    scores = plugin.CosineScaled(max_len=9).score(
        ["?"] * 4, ["a"] * 4, solution=["x"] * 4, completion_ids=IDS
    )
    # Wrong at the longest: -0.5. Right after 7 and 1 of 9 tokens: ½ + ¼·(1 + cos(π·share)).
    assert scores == [
        pytest.approx(0.5 + 0.25 * (1 + math.cos(math.pi * 7 / 9))),
        -0.5,
        None,
        pytest.approx(0.5 + 0.25 * (1 + math.cos(math.pi / 9))),
    ]


def test_registering_imports_neither_torch_nor_trl():
    script = (
        "import sys, alignkit_trl_rewards as plugin\nfound = "
        "[]\nplugin.register_rewards(found.append)\nfound[0]()\n"
        "assert len(found) == 6 and not {'torch', 'trl', 'math_verify'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_plain_text_and_a_message_get_trls_score():
    messages = [[{"role": "assistant", "content": text}] for text in (THOUGHT, RAMBLED)]
    reward = plugin.ThinkFormat()

    assert reward.score(["?", "?"], [THOUGHT, RAMBLED]) == reward.score(["?", "?"], messages) == [1.0, 0.0]
    assert rewards.think_format_reward(messages) == [1.0, 0.0]


def test_a_completion_of_several_messages_is_one_text():
    first, second = THOUGHT.split("\nFour")

    said = [
        {"role": "assistant", "content": first.removesuffix("</think>")},
        {"role": "assistant", "content": f"</think>{second}"},
    ]
    assert plugin.ThinkFormat().score(["?"], [said]) == [1.0]


def test_an_empty_completion_has_no_form():
    assert plugin.ThinkFormat().score(["?", "?"], ["", []]) == [0.0, 0.0]


def test_accuracy_gets_one_message_a_completion_and_the_solution(monkeypatch, verifiers):
    calls = []
    monkeypatch.setattr(rewards, "accuracy_reward", recording(calls, [1.0, None]))

    assert plugin.Accuracy(column="gold").score(["?", "?"], ["a", "b"], gold=["x", "y"], level=[1, 2]) == [
        1.0,
        None,
    ]
    assert calls == [
        {"completions": [[{"role": "assistant", "content": text}] for text in "ab"], "solution": ["x", "y"]}
    ]


def test_accuracy_after_reasoning_gets_the_delimiters(monkeypatch, verifiers):
    calls = []
    monkeypatch.setattr(rewards, "reasoning_accuracy_reward", recording(calls, [0.0]))

    plugin.ReasoningAccuracy(reasoning_delimiters=["</r>", "</s>"]).score(["?"], ["a"], solution=["x"])
    assert calls[0]["reasoning_delimiters"] == ["</r>", "</s>"]
    assert calls[0]["solution"] == ["x"]


@pytest.mark.parametrize("cls", [plugin.Accuracy, plugin.ReasoningAccuracy])
def test_a_missing_column_is_named_with_those_there_are(cls, verifiers):
    with pytest.raises(
        UserError,
        match=rf"reward '{cls.name}': .*column 'solution', which is missing; "
        r"found: answer",
    ):
        cls().score(["?"], ["4"], answer=["4"])


@pytest.mark.parametrize("cls", [plugin.Accuracy, plugin.ReasoningAccuracy])
@pytest.mark.parametrize("package", plugin.VERIFIERS)
def test_a_missing_package_is_named_as_soon_as_the_reward_is_made(cls, package, monkeypatch):
    monkeypatch.setattr(plugin, "find_spec", lambda asked: None if asked == package else asked)

    with pytest.raises(
        UserError,
        match=rf"reward '{cls.name}': .*'{package}' is not installed\n.*pip "
        r"install math-verify",
    ):
        cls()


def test_a_trl_without_the_function_is_told_so(monkeypatch):
    monkeypatch.setattr(plugin.ThinkFormat, "name", "trl/no_such_reward")

    with pytest.raises(
        UserError,
        match=r"reward 'trl/no_such_reward': the installed TRL \d.* does not have this function",
    ):
        plugin.ThinkFormat().score(["?"], ["a"])


def test_math_is_verified_where_the_package_is_installed():
    pytest.importorskip("math_verify")
    half = [r"It is \boxed{\frac{1}{2}}", r"It is \boxed{0.25}"]
    thought = [f"<think>Hm.</think> {text}" for text in half]
    solution = [r"$\frac{2}{4}$"] * 2

    assert plugin.Accuracy().score(["?", "?"], half, solution=solution) == [1.0, 0.0]
    assert plugin.ReasoningAccuracy().score(["?", "?"], thought, solution=solution) == [1.0, 0.0]
    assert plugin.ReasoningAccuracy().score(["?", "?"], half, solution=solution) == [0.0, 0.0]
