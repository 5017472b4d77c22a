"""Calling a reward and checking its answer."""

import asyncio
import gc
import math
from typing import ClassVar

import numpy as np
import pytest
import torch

from alignkit import Reward, UserError
from alignkit.rewards.calling import Completions, score
from alignkit.rewards.kinds import RegisteredReward

PROMPTS = ["How is the soup?", "Is it raining?"]
COMPLETIONS = ["Salty.", "Not any more."]
IDS = [[5, 6, 1], [7, 1]]


def answering(answer):
    return lambda prompts, completions, **columns: answer


def ask(reward, **columns):
    wanted = Completions(PROMPTS, COMPLETIONS, IDS, columns)
    return score([RegisteredReward("odd", reward)], wanted)["odd"]


def test_a_function_and_a_reward_class_get_the_same_arguments():
    class Length(Reward):
        per: float = 1.0

        def score(self, prompts, completions, **columns):
            return [
                len(text) / self.per + bonus
                for text, bonus in zip(completions, columns["bonus"], strict=True)
            ]

    def length(prompts, completions, completion_ids, bonus):
        assert prompts == PROMPTS
        assert completion_ids == IDS
        return [len(text) + more for text, more in zip(completions, bonus, strict=True)]

    assert ask(Length(), bonus=[1, 2]) == ask(length, bonus=[1, 2]) == [7.0, 15.0]
    assert ask(Length(per=2), bonus=[0, 0]) == [3.0, 6.5]


def test_none_abstains():
    assert ask(answering([None, 2])) == [None, 2.0]


@pytest.mark.parametrize(
    "answer", [np.array([0.5, 2.0]), torch.tensor([0.5, 2.0]), (0.5, np.float32(2)), iter([0.5, 2])]
)
def test_any_sequence_of_numbers_is_an_answer(answer):
    scores = ask(answering(answer))

    assert scores == [0.5, 2.0]
    assert all(type(value) is float for value in scores)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ([1.0], "found 1 scores"),
        ([1.0, 2.0, 3.0], "found 3 scores"),
        ([1.0, math.nan], r"score nan for the prompt 'Is it raining\?'"),
        ([math.inf, 1.0], r"score inf for the prompt 'How is the soup\?'"),
        (["0.5", 1.0], "score '0.5'"),
        ([1.0, [2.0]], "found lists for some completions and numbers for others"),
        ([10**400, 1.0], r"score 1000.*…? for the prompt 'How is the soup\?'"),
        ([1.0, torch.zeros(2)], "found lists for some completions and numbers for others"),
        ([1.0, np.array("x")], "score array"),
        ("ab", "found 'ab'"),
        (None, "found None"),
        (0.5, "found 0.5"),
        ({"a": 1, "b": 2}, "found {'a': 1"),
    ],
)
def test_any_other_answer_is_an_error_that_shows_it(answer, found):
    with pytest.raises(UserError, match=found) as error:
        ask(answering(answer))

    assert error.value.where == "reward 'odd'"
    assert "one finite number or None" in str(error.value)


def test_a_reward_that_fails_is_named_with_its_reason():
    def broken(prompts, completions, **columns):
        return [1 / 0 for _ in completions]

    with pytest.raises(UserError, match="ZeroDivisionError: division by zero") as error:
        ask(broken)

    assert "reward 'odd'" in str(error.value)
    assert "How is the soup?" in str(error.value)


def test_a_reward_that_fails_while_it_is_read_is_named_too():
    def broken(prompts, completions, **columns):
        return (1 / 0 for _ in completions)

    with pytest.raises(UserError, match="ZeroDivisionError: division by zero"):
        ask(broken)


@pytest.mark.parametrize("name", ["self", "prompts", "completions", "completion_ids"])
def test_a_column_with_the_name_of_an_argument_is_refused_with_the_way_out(name):
    with pytest.raises(UserError, match=rf"(?s)column '{name}'.*rename: \{{{name}: OTHER\}}"):
        ask(answering([1.0, 2.0]), **{name: [1, 2]})


def test_a_long_conversation_is_shown_by_the_beginning_of_its_last_message():
    prompt = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Tell me " + "more " * 50},
    ]

    with pytest.raises(UserError, match="prompt 'Tell me more") as error:
        score([RegisteredReward("odd", answering([math.nan]))], Completions([prompt], ["No."], [[1]], {}))

    assert len(error.value.message) < 120


def failing(prompts, completions, **columns):
    raise ValueError("boom")


def test_the_line_of_the_plugin_that_failed_is_named():
    line = failing.__code__.co_firstlineno + 1
    with pytest.raises(UserError, match=rf"ValueError: boom \(test_calling.py:{line}\)") as error:
        score([RegisteredReward("odd", failing, "mine")], Completions(PROMPTS, COMPLETIONS, IDS, {}))
    assert error.value.where == "reward 'odd' of plugin 'mine'"
    assert isinstance(error.value.__cause__, ValueError)


class Waiting(Reward):
    """Answers only when another reward has begun."""

    name = "waiting"
    events: ClassVar[list[asyncio.Event]] = []
    own: int = 0

    async def score(self, prompts, completions, **columns):
        self.events[self.own].set()
        await asyncio.wait_for(self.events[1 - self.own].wait(), timeout=10)
        return [float(self.own), None]


def test_async_rewards_of_a_batch_run_together_beside_others():
    Waiting.events[:] = [asyncio.Event(), asyncio.Event()]
    rewards = [
        RegisteredReward("one", Waiting(own=0)),
        RegisteredReward("plain", answering([5, 6])),
        RegisteredReward("two", Waiting(own=1)),
    ]
    found = score(rewards, Completions(PROMPTS, COMPLETIONS, IDS, {}))
    assert found == {"one": [0.0, None], "plain": [5.0, 6.0], "two": [1.0, None]}
    assert list(found) == ["one", "plain", "two"]


def test_an_async_reward_that_fails_is_named_with_its_line():
    async def broken(prompts, completions, **columns):
        await asyncio.sleep(0)
        raise KeyError("gone")

    line = broken.__code__.co_firstlineno + 2
    with pytest.raises(UserError, match=rf"KeyError: 'gone' \(test_calling.py:{line}\)") as error:
        ask(broken)
    assert error.value.where == "reward 'odd'"


@pytest.mark.filterwarnings("error")
def test_an_async_reward_is_closed_where_another_fails():
    async def never(prompts, completions, **columns):
        return [1.0, 2.0]

    rewards = [RegisteredReward("never", never), RegisteredReward("broken", failing)]
    with pytest.raises(UserError, match="boom"):
        score(rewards, Completions(PROMPTS, COMPLETIONS, IDS, {}))
    gc.collect()  # a coroutine that is left open warns here


class Judged(Reward):
    """Asks the engine."""

    name = "judged"
    uses = {"policy"}

    def score(self, prompts, completions, engine, **columns):
        return [float(len(text)) for (text,) in engine.generate("policy", completions)]


def test_the_engine_reaches_the_reward_that_uses_it_and_no_other():
    class Echo:
        def generate(self, role, prompts):
            return [[f"{role} {prompt}"] for prompt in prompts]

    def plain(prompts, completions, completion_ids):
        return [0.0, 0.0]

    rewards = [RegisteredReward("judged", Judged()), RegisteredReward("plain", plain)]
    found = score(rewards, Completions(PROMPTS, COMPLETIONS, IDS, {}), {"judged": Echo()})
    assert found["judged"] == [len("policy Salty."), len("policy Not any more.")]
    with pytest.raises(UserError, match="column 'engine', which is an argument"):
        score(rewards[:1], Completions(PROMPTS, COMPLETIONS, IDS, {"engine": [1, 2]}), {"judged": Echo()})
