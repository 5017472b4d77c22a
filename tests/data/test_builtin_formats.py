"""Rows are recognized by their columns, and read as prompt, completions and other columns."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizers import assistant, user

from alignkit import BadExample, Example
from alignkit.data.builtin_formats import BUILT_IN, common_prompt
from alignkit.data.formats import choose, parse


def read(row):
    return parse(choose(row, "auto", {}, "f:1", "data.x"), row, "f:1")


RANKED = {"rank": (0.0, 1.0)}
Q, A, B = [user("q")], [assistant("a")], [assistant("b")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": [*Q, *A, user("r"), *B]}, Example([*Q, *A, user("r")], (B,))),
        ({"messages": [*Q, *A, user("r")]}, Example([*Q, *A, user("r")])),
        ({"prompt": "q", "messages": [*Q, *A]}, Example(Q, (A,), {}, {"prompt": "q"})),
        ({"prompt": "q", "completion": " a"}, Example("q", (" a",))),
        ({"prompt": Q, "completion": A, "source": "s"}, Example(Q, (A,), {}, {"source": "s"})),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, Example("q", ("a", "b"), RANKED)),
        ({"prompt": "q", "chosen": [*Q, *A], "rejected": [*Q, *B]}, Example(Q, (A, B), RANKED)),
        ({"chosen": [*Q, *A], "rejected": [*Q, *B]}, Example(Q, (A, B), RANKED)),
        ({"chosen": "q: yes", "rejected": "q: no"}, Example("q:", (" yes", " no"), RANKED)),
        ({"prompt": "q", "completion": "a", "label": True}, Example("q", ("a",), {"label": (1.0,)})),
        ({"prompt": "q", "completion": "a", "label": "False"}, Example("q", ("a",), {"label": (0.0,)})),
        (
            {"prompt": "q", "completions": ["a", "b", "c"], "ranks": [1, 0, 1]},
            Example("q", ("a", "b", "c"), {"rank": (1.0, 0.0, 1.0)}),
        ),
        ({"prompt": "q", "answer": "42"}, Example("q", (), {}, {"answer": "42"})),
    ],
)
def test_each_format_is_recognized_and_read(row, expected):
    assert read(row) == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"prompt": "q", "completions": ["a", "b"], "ranks": [0, math.nan]},
            "'ranks' is not a finite number",
        ),
        ({"prompt": "q", "completions": ["a", "b"], "ranks": [0]}, "another length"),
        ({"prompt": "q", "completions": ["a", "b"], "ranks": [0, None]}, "lacks a number"),
        ({"prompt": "q", "completions": "ab"}, "not a list"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "weight": -1}, "'weight' is negative"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "votes": [-1, 2]}, "'votes' is negative"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "votes": [0, 0]}, "'votes' is 0 for both"),
        (
            {"prompt": "q", "completions": ["a", "b", "c"], "ranks": [0, 1, 2], "votes": [5, 0, 0]},
            "'votes' is 0 for both",
        ),
        (
            {"prompt": "q", "chosen": "a", "rejected": "b", "margin": 1e39},
            "'margin' is not a finite number in float32",
        ),
        (
            {"prompt": "q", "chosen": "a", "rejected": "b", "margin": "1e39"},
            "'margin' is not a finite number in float32",
        ),
        (
            {"prompt": "q", "completions": ["a", "b"], "ranks": [0, 10**400]},
            "'ranks' is not a finite number in float32",
        ),
        (
            {"prompt": "q", "completions": ["a"], "rewards": [-(10**400)]},
            "'rewards' is not a finite number in float32",
        ),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "margin": "big"}, "'margin' is not a number"),
        ({"prompt": "q", "completion": "a", "label": "maybe"}, "'label' is not a number"),
        ({"prompt": "q", "completion": "a", "label": None}, "neither true nor false"),
        ({"prompt": "q", "completion": None}, "'completion' is missing"),
        ({"prompt": "q", "completion": 3}, "neither text nor"),
        ({"prompt": "q", "completion": A}, "not all text or all conversations"),
        ({"prompt": "q", "completion": "\ud800"}, "surrogate"),
        ({"prompt": [{"role": "wizard", "content": "q"}], "completion": A}, "role is none of"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "text"}]}], "completion": A},
            "content is not text",
        ),
        ({"prompt": ["q"], "completion": A}, "not a mapping"),
        ({"messages": [*Q, {**A[0], "tool_calls": [{"name": "f"}]}]}, "'tool_calls' is not text"),
        ({"messages": "q"}, "not a list of messages"),
        ({"messages": [*Q, *A], "tools": [{}]}, "'tools' is not supported"),
        ({"chosen": [*Q, *A], "rejected": [user("other"), *B]}, "prompts of the pair differ"),
        ({"chosen": [*Q, *A], "rejected": [*Q, *A, user("r"), *B]}, "prompts of the pair differ"),
        ({"chosen": [*Q, *A], "rejected": "q b"}, "not both text"),
    ],
)
def test_unusable_rows_say_why(row, reason):
    with pytest.raises(BadExample, match=reason):
        read(row)


def test_fields_of_a_message_that_are_null_are_left_out():
    row = {"messages": [{"role": "user", "content": "q", "name": None, "tool_calls": []}, *A]}
    assert read(row).prompt == Q


@given(
    st.text("ab c", max_size=12),
    st.text("ab c", min_size=1, max_size=8),
    st.text("ab c", min_size=1, max_size=8),
)
def test_an_implicit_prompt_is_common_and_ends_before_a_word(prompt, one, other):
    chosen, rejected = prompt + one, prompt + other
    start = common_prompt(chosen, rejected)
    assert chosen[:start] == rejected[:start]
    assert chosen[start:]
    assert rejected[start:]
    assert start == 0 or (chosen[start].isspace() and rejected[start].isspace())


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("a cat", "a car", "a"),
        ("a  b", "a  c", "a"),
        ("one two", "one two three", "one"),
        ("the cat sat", "the catalog", "the"),
        ("x", "y", ""),
    ],
)
def test_transcripts_part_at_white_space(chosen, rejected, prompt):
    assert chosen[: common_prompt(chosen, rejected)] == prompt


def test_a_format_matches_the_rows_that_have_all_its_columns():
    for known in BUILT_IN.values():
        row = dict.fromkeys(known.columns)
        assert known.matches({**row, "other": 1})
        assert not any(known.matches({name: 1 for name in row if name != missing}) for missing in row)
        assert choose(row, "auto", {}, "f:1", "data.x") is known, (
            "the first that matches is the most specific"
        )
