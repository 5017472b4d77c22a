"""What a text or a conversation says."""

import pytest

from alignkit import text_of


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
