"""Calling a reward and checking its answer."""

import math

import numpy as np
import pytest
import torch

from alignkit import Reward, UserError
from alignkit.rewards.calling import score

PROMPTS = ["How is the soup?", "Is it raining?"]
COMPLETIONS = ["Salty.", "Not any more."]
IDS = [[5, 6, 1], [7, 1]]


def answering(answer):
    return lambda prompts, completions, **columns: answer


def ask(reward, **columns):
    return score(reward, "odd", PROMPTS, COMPLETIONS, IDS, columns)


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
        ([1.0, [2.0]], r"score \[2.0\]"),
        ([10**400, 1.0], r"score 1000.*…? for the prompt 'How is the soup\?'"),
        ([1.0, torch.zeros(2)], "score tensor"),
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
    assert "one finite number for each of the completions" in str(error.value)


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
        score(answering([1.0, 2.0]), "odd", PROMPTS, COMPLETIONS, IDS, {name: [1, 2]})


def test_a_long_conversation_is_shown_by_the_beginning_of_its_last_message():
    prompt = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Tell me " + "more " * 50},
    ]

    with pytest.raises(UserError, match="prompt 'Tell me more") as error:
        score(answering([math.nan]), "odd", [prompt], ["No."], [[1]], {})

    assert len(error.value.message) < 120
