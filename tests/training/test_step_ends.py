"""Steps of samples end where those of Stepwise data do."""

import pytest
from tiny_tokenizers import byte_tokenizer

from alignkit import Example, Group, Stepwise
from alignkit.data.checking import adapt
from alignkit.data.tokenizing import Tokenization
from alignkit.training.step_ends import ends_of_steps, step_end

WORDS = ["", "one", " two", "\n", "\n\n", ".\nth", "ree", "#"]


def text(ids):
    return "".join(WORDS[number] for number in ids)


@pytest.mark.parametrize(
    ("ids", "ends"),
    [
        ([1, 3, 2, 0], [1, 3]),  # one⏎ | two, end
        ([1, 2, 0], [2]),  # a single step
        ([1, 3, 2], [1, 2]),  # cut off
        ([1, 5, 6, 3, 0], [1, 4]),  # one.⏎th in one token | ree⏎, end: what follows is blank
        ([1, 4, 2, 0], [1, 3]),  # two separators in one token
        ([1, 3, 3, 2, 0], [1, 4]),  # the second separator belongs to the next step
        ([3, 3, 1, 0], [3]),  # blank at the beginning
        ([3, 3], [1]),  # blank alone
        ([0], [0]),
    ],
)
def test_a_step_ends_at_the_token_with_its_separator_and_the_last_at_the_end(ids, ends):
    assert ends_of_steps(ids, "\n", text) == ends


def test_a_separator_may_be_any_text():
    assert ends_of_steps([1, 7, 3, 7, 2, 7, 0], "#", text) == [1, 6]


def test_the_ends_are_those_of_the_same_steps_as_data():
    tokenizer = byte_tokenizer()
    data = Tokenization(tokenizer, 1000).encode(
        adapt(Example("q:", ("the cat", "sat on", "thé mat"), {"label": (1.0, 0.0, 1.0)}), Stepwise)
    )

    def decode(ids, after=None):
        return tokenizer.decode(ids, skip_special_tokens=True)

    ends = step_end(data.completions[0], Group(data.prompt), "\n", decode)
    assert tuple(ends) == data.columns["step_end"][0]
    assert sum(ends) == 3


def test_after_a_plain_prompt_text_is_decoded_with_it():
    asked = []

    def decode(ids, after=None):
        asked.append(after)
        return text(ids)

    assert step_end([1, 3, 2], Group([9], text="prompt"), "\n", decode) == [0, 1, 1]
    assert step_end([1, 2], Group([9], text=[{"role": "user", "content": "prompt"}]), "\n", decode) == [0, 1]
    assert asked[0] == [9]
    assert asked[-1] is None
