"""The numbers of a row become columns: one number per completion."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignkit import BadExample
from alignkit.data.columns import consumed, dense, implied_ranks, number, number_columns, settled
from alignkit.data.formats import choose, parse


def read(row):
    return parse(choose(row, "auto", {}, "f:1", "data.x"), row, "f:1")


RANKED = {"rank": (0.0, 1.0)}


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


@given(st.lists(st.integers() | st.integers(10**9, 10**9 + 3), min_size=2, max_size=5))
def test_ranks_are_counted_from_zero_and_keep_their_order_and_ties(ranks):
    found = read({"prompt": "q", "completions": ["a"] * len(ranks), "ranks": ranks}).columns["rank"]
    assert set(found) == set(range(len(set(ranks))))
    for a, b in itertools.permutations(range(len(ranks)), 2):
        assert (found[a] < found[b]) == (ranks[a] < ranks[b])


def test_completions_that_tie_need_no_votes():
    row = {"prompt": "q", "completions": ["a", "b", "c"], "ranks": [0, 1, 1], "votes": [2, 0, 0]}
    assert read(row).columns["votes"] == (2, 0, 0)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (None, None),
        (" ", None),
        (True, 1.0),
        ("False", 0.0),
        (" -2.5 ", -2.5),
        ("1e3", 1000.0),
        (3.4028234663852886e38, 3.4028234663852886e38),
    ],
)
def test_a_cell_is_read_as_a_number(cell, found):
    assert number(cell, "x") == found


@pytest.mark.parametrize("cell", ["much", [1], math.nan, "inf", 3.5e38, -(10**400)])
def test_a_cell_that_is_no_finite_number_is_refused_by_name(cell):
    with pytest.raises(BadExample, match="'x' is not a"):
        number(cell, "x")


@given(st.lists(st.integers(-3, 3) | st.floats(-3, 3), min_size=1, max_size=6))
def test_a_higher_reward_has_a_lower_rank(rewards):
    ranks = implied_ranks(tuple(rewards))
    for a, b in itertools.permutations(range(len(rewards)), 2):
        assert (ranks[a] < ranks[b]) == (rewards[a] > rewards[b])
    assert dense(ranks) == ranks


def test_numbers_of_two_sides_need_two_completions():
    row = {"votes_chosen": 3, "votes_rejected": 1}
    assert number_columns(row, 2) == {"votes": (3.0, 1.0)}
    assert number_columns(row, 3) == {}
    assert consumed(row, 2) == {"votes_chosen", "votes_rejected"}
    assert consumed(row, 3) == set()


def test_a_list_of_numbers_is_told_from_a_column_of_that_name_with_one_cell():
    assert number_columns({"labels": [1, 0]}, 2) == {"label": (1.0, 0.0)}
    assert consumed({"labels": [1, 0], "weight": 2, "votes": "many"}, 2) == {"labels", "weight"}
    assert consumed({"weight": 2}, 0) == set(), "a prompt's weight stays with the row"
    assert number_columns({"votes": "many"}, 2) == {}


def test_one_reward_implies_no_rank():
    assert number_columns({"rewards": [2]}, 1) == {"reward": (2.0,)}


def test_settled_ranks_start_from_zero_and_the_other_columns_are_as_they_were():
    assert settled({"rank": (7, 5, 7), "margin": ("1", 2, True)}) == {
        "rank": (1.0, 0.0, 1.0),
        "margin": (1.0, 2.0, 1.0),
    }
