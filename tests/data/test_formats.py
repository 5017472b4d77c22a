"""Rows are recognised by their columns, and read as prompt, completions and numbers."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizers import assistant, user

from alignkit import BadExample, Example, UserError
from alignkit.data.formats import BUILT_IN, choose, common_prompt, parse
from alignkit.registry import Format


def read(row, wanted="auto", formats=None):
    return parse(choose(row, wanted, formats or {}, "f:1", "data.x"), row, "f:1")


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
def test_each_layout_is_recognised_and_read(row, expected):
    assert read(row) == expected


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (
            {"chosen": "q a", "rejected": "q b", "margin": 2, "weight": "0.5"},
            {**RANKED, "margin": (2.0, 2.0), "weight": (0.5, 0.5)},
        ),
        (
            {"chosen": "q a", "rejected": "q b", "votes_chosen": 3, "votes_rejected": 1},
            {**RANKED, "votes": (3.0, 1.0)},
        ),
        (
            {"chosen": "q a", "rejected": "q b", "votes": [3, 1], "margin": None},
            {**RANKED, "votes": (3.0, 1.0)},
        ),
        (
            {"chosen": "q a", "rejected": "q b", "score_chosen": 1.5, "score_rejected": 2},
            {**RANKED, "reward": (1.5, 2.0)},
        ),
        (
            {"prompt": "q", "completions": ["a", "b", "c"], "rewards": [0.5, 2, 0.5]},
            {"reward": (0.5, 2.0, 0.5), "rank": (1.0, 0.0, 1.0)},
        ),
        (
            {"prompt": "q", "completions": ["a", "b"], "rewards": [1, 2], "ranks": [0, 1]},
            {"reward": (1.0, 2.0), **RANKED},
        ),
    ],
)
def test_numbers_become_columns(row, columns):
    example = read(row)
    assert example.columns == columns
    assert example.extra == {}


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


@given(st.lists(st.integers() | st.integers(10**9, 10**9 + 3), min_size=2, max_size=5))
def test_ranks_are_counted_from_zero_and_keep_their_order_and_ties(ranks):
    found = read({"prompt": "q", "completions": ["a"] * len(ranks), "ranks": ranks}).columns["rank"]
    assert set(found) == set(range(len(set(ranks))))
    for a, b in itertools.permutations(range(len(ranks)), 2):
        assert (found[a] < found[b]) == (ranks[a] < ranks[b])


def test_the_columns_of_a_plugins_format_are_settled_too():
    def plugin(**columns):
        return {"mine": Format("mine", lambda row: True, lambda row: Example("q", ("a", "b"), columns))}

    assert read({}, formats=plugin(rank=(1.7e9 + 1, 1.7e9))).columns == {"rank": (1.0, 0.0)}
    with pytest.raises(BadExample, match="'margin' is not a finite number"):
        read({}, formats=plugin(margin=(math.inf, 0.0)))


def test_completions_that_tie_need_no_votes():
    row = {"prompt": "q", "completions": ["a", "b", "c"], "ranks": [0, 1, 1], "votes": [2, 0, 0]}
    assert read(row).columns["votes"] == (2, 0, 0)


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


def test_a_plugins_format_comes_before_the_built_in_ones():
    own = Format("own", lambda row: "prompt" in row, lambda row: Example("own " + row["prompt"]))
    assert read({"prompt": "q", "completion": "a"}, formats={"own": own}).prompt == "own q"
    assert read({"prompt": "q", "completion": "a"}, "prompt-completion", {"own": own}).prompt == "q"


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'preference'") as error:
        read({"prompt": "q"}, "preferance")
    assert error.value.where == "data.x.format"


def test_a_row_that_no_format_fits_is_shown_beside_what_is_expected():
    with pytest.raises(UserError) as error:
        read({"promt": "q", "answer": "a"})
    message = str(error.value)
    assert "f:1" in message
    assert "promt, answer" in message
    assert all(name in message for name in BUILT_IN)
    assert "rename: {promt: prompt}" in message


def test_a_named_format_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="'preference' does not fit"):
        read({"prompt": "q", "completion": "a"}, "preference")


@pytest.mark.parametrize(
    ("parse_row", "message"),
    [
        (lambda row: row["absent"], "KeyError"),
        (lambda row: "text", "not an Example"),
        (lambda row: Example("q", ("a",), {"rank": (0.0, 1.0)}), "another length"),
    ],
)
def test_a_plugins_mistake_is_named(parse_row, message):
    with pytest.raises(UserError, match=message):
        read({"x": 1}, formats={"own": Format("own", lambda row: True, parse_row)})


def test_a_plugins_example_is_checked_like_any_other():
    with pytest.raises(BadExample, match="role is none of"):
        read(
            {"x": 1},
            formats={
                "own": Format("own", lambda row: True, lambda row: Example([{"role": "x", "content": ""}]))
            },
        )
