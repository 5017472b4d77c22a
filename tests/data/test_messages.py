"""A cell is read as text or as a conversation, and texts are compared by what they say."""

import pytest
from tiny_tokenizers import assistant, user

from alignkit import BadExample
from alignkit.data.messages import CHAT_ROLES, is_blank, read_text, speech


@pytest.mark.parametrize("cell", [" As it is.\n", "", [], [user("q"), assistant("")]])
def test_text_and_conversations_are_read_as_they_are(cell):
    assert read_text(cell, "prompt") == cell


def test_every_role_of_a_chat_is_known_and_text_beside_the_content_is_kept():
    conversation = [{"role": role, "content": "q", "name": "n"} for role in CHAT_ROLES]
    assert read_text(tuple(conversation), "prompt") == conversation


def test_empty_fields_of_a_message_are_left_out():
    message = {**user("q"), "name": None, "tool_calls": [], "extra": {}, "note": ""}
    assert read_text([message], "prompt") == [{**user("q"), "note": ""}]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "'prompt' is missing"),
        (3, "'prompt' is neither text nor a list of messages"),
        (["q"], "not a mapping"),
        ([{"content": "q"}], "role is none of"),
        ([{"role": "user"}], "content is not text"),
        ([{**user("q"), "tool_calls": [{"name": "f"}]}], "'tool_calls' is not text"),
        ([user("\ud800")], "surrogate"),
    ],
)
def test_a_cell_that_is_neither_says_why(cell, reason):
    with pytest.raises(BadExample, match=reason):
        read_text(cell, "prompt")


def test_what_is_said_leaves_out_white_space_around_it_and_other_fields():
    assert speech(" a b\n") == speech("a b")
    assert speech([{**user(" a "), "name": "n"}]) == speech([user("a")])
    assert (
        len({speech("a"), speech([user("a")]), speech([assistant("a")]), speech([user("a"), user("b")])}) == 4
    )


@pytest.mark.parametrize("text", ["", " \n", [], [user(" "), assistant("")]])
def test_where_nothing_is_said_a_text_is_blank(text):
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", [user(""), assistant("a")]])
def test_where_anything_is_said_a_text_is_not_blank(text):
    assert not is_blank(text)
