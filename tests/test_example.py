"""Examples as text and as tokens."""

import pytest

from alignkit import Group, text_of


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (" As it is.\n", " As it is.\n"),
        ([{"role": "assistant", "content": "One."}], "One."),
        ([{"role": "assistant", "content": "One."}, {"role": "tool", "content": "Two."}], "One.\nTwo."),
        ([{"role": "assistant", "content": None}], ""),
        ([], ""),
    ],
)
def test_a_conversation_says_what_its_messages_say_in_order(said, text):
    assert text_of(said) == text


def test_a_group_counts_its_prompt_once():
    assert Group([1, 2, 3], ([4], [5, 6])).tokens == 6
    assert Group([1, 2]).tokens == 2
