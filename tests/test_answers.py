"""Asking a plugin's function for numbers."""

import pytest

from alignkit.answers import ask
from alignkit.errors import UserError


def asked(answer, prompts=("one", "two")):
    return ask(lambda: answer, prompts, what="score", items="completions", where="reward 'odd'")


def test_numbers_become_floats_and_none_stays():
    assert asked([1, None]) == [1.0, None]
    assert asked(iter([True, 0.5])) == [1.0, 0.5]


def test_no_prompts_have_no_numbers():
    assert asked([], ()) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([1.0], "found 1 scores for 2 prompts, the first 'one', expected 2"),
        ({"a": 1, "b": 2}, "found {'a': 1"),
        ([1.0, "2"], "found the score '2' for the prompt 'two'"),
    ],
)
def test_a_wrong_answer_is_shown_with_what_was_expected(answer, words):
    with pytest.raises(UserError) as caught:
        asked(answer)
    assert words in str(caught.value)
    assert "one finite number for each of the completions" in str(caught.value)
    assert caught.value.where == "reward 'odd'"


def test_the_users_own_error_passes_through():
    def refuse():
        raise UserError("no such column")

    with pytest.raises(UserError, match=r"^no such column$"):
        ask(refuse, ["one"], what="score", items="completions", where="reward 'odd'")
