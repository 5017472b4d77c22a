"""Groups laid out as trees and flat: which tokens lie where, and what predicts them."""

import random
from dataclasses import replace

import pytest
import torch
from tiny_models import random_groups

from alignkit.data.rows import batch_of, branch_mask, flat_rows, tree_rows
from alignkit.example import Group

GROUPS = [
    Group([5, 6], ([7, 8, 1], [9, 1]), {"rank": (0.0, 1.0)}),
    Group([3], ([4],), {"rank": (0.0,), "label": (1.0,)}),
]


def test_the_cost_of_a_group_is_its_prompt_once_and_its_completions():
    groups = random_groups(random.Random(3))
    rows = tree_rows(groups)
    assert rows.input_ids.shape == (1, sum(group.tokens for group in groups))


def test_a_tree_holds_the_prompt_once_and_each_completion_counts_on_from_it():
    rows = tree_rows(GROUPS)
    assert rows.input_ids.tolist() == [[5, 6, 7, 8, 1, 9, 1, 3, 4]]
    assert rows.position_ids.tolist() == [[0, 1, 2, 3, 4, 2, 3, 0, 1]]
    first, second = rows.trees or ()
    assert (first.start, first.prompt, first.trunk) == (0, 2, 5)
    assert [(start, end) for start, end, _ in first.branches] == [(5, 7)]
    assert (second.start, second.prompt, second.trunk, second.branches) == (7, 8, 9, ())


def test_a_flat_row_is_a_prompt_with_one_completion():
    rows = flat_rows(GROUPS)
    assert rows.input_ids.tolist() == [[5, 6, 7, 8, 1], [5, 6, 9, 1, 0], [3, 4, 0, 0, 0]]
    assert rows.position_ids.tolist() == [[0, 1, 2, 3, 4]] * 3
    assert rows.trees is None


@pytest.mark.parametrize("layout", [tree_rows, flat_rows])
def test_every_completion_token_has_a_place_that_predicts_it_and_a_slot_in_the_batch(layout):
    rows = layout(GROUPS)
    assert rows.batch.tokens.flatten()[rows.slot].tolist() == [7, 8, 1, 9, 1, 4]
    assert rows.input_ids.flatten()[rows.predicting].tolist() == [6, 7, 8, 6, 9, 3]
    assert rows.input_ids.flatten()[rows.last].tolist() == [1, 1, 4]
    values = torch.arange(1.0, 7.0)
    assert rows.scatter(values).tolist() == [[1, 2, 3], [4, 5, 0], [6, 0, 0]]


def test_the_batch_is_padded_and_has_the_columns_that_every_group_has():
    batch, slot = batch_of(GROUPS)
    assert batch.tokens.tolist() == [[7, 8, 1], [9, 1, 0], [4, 0, 0]]
    assert batch.mask.tolist() == [[True] * 3, [True, True, False], [True, False, False]]
    assert slot.tolist() == [0, 1, 2, 3, 4, 6]
    assert batch.group.tolist() == [0, 0, 1]
    assert {name: column.tolist() for name, column in batch.columns.items()} == {"rank": [0, 1, 0]}


def test_a_branch_sees_its_prompt_and_what_comes_before_it():
    hidden = float("-inf")
    assert branch_mask(2, 3).tolist() == [
        [0, 0, 0, hidden, hidden],
        [0, 0, 0, 0, hidden],
        [0, 0, 0, 0, 0],
    ]


def test_rows_on_another_device_are_the_same_rows():
    moved = tree_rows(GROUPS).to(torch.device("meta"))
    assert {
        tensor.device.type for tensor in (moved.input_ids, moved.slot, moved.batch.mask, moved.batch.rank)
    } == {"meta"}
    assert moved.trees is not None
    assert moved.trees[0].branches[0][2].device.type == "meta"
    here = tree_rows(GROUPS)
    assert here.to(torch.device("cpu")) is here


MASKED = [
    Group([5, 6], ([7, 8, 1], [9, 1]), masks=((True, False, True), (True, True))),
    Group([3], ([4, 1],), masks=((False, True),)),
]


@pytest.mark.parametrize("layout", [tree_rows, flat_rows])
def test_only_tokens_inside_the_mask_are_predicted_and_have_a_slot(layout):
    rows = layout(MASKED)
    assert rows.batch.mask.tolist() == [[True, False, True], [True, True, False], [False, True, False]]
    assert rows.batch.tokens.flatten()[rows.slot].tolist() == [7, 1, 9, 1, 1]
    assert rows.input_ids.flatten()[rows.predicting].tolist() == [6, 8, 6, 9, 4]
    assert rows.input_ids.flatten()[rows.last].tolist() == [1, 1, 1], "the end, whatever the mask"
    assert rows.scatter(torch.arange(1.0, 6.0)).tolist() == [[1, 0, 2], [3, 4, 0], [0, 5, 0]]


def test_numbers_of_tokens_are_padded_and_zero_outside_the_mask():
    first, second = MASKED
    groups = [
        replace(first, columns={"share": ((0.5, 2.0, 0.25), (1.0, 3.0)), "rank": (0.0, 1.0)}),
        replace(second, columns={"share": ((4.0, 5.0),), "rank": (0.0,)}),
    ]
    batch, _ = batch_of(groups)
    assert batch.share.tolist() == [[0.5, 0, 0.25], [1, 3, 0], [0, 5, 0]]
    assert batch.rank.tolist() == [0, 1, 0]


def test_a_number_of_a_prompt_is_that_of_all_its_completions():
    first, second = MASKED
    groups = [
        replace(first, prompt_columns={"level": 3.0, "rare": 1.0}),
        replace(second, prompt_columns={"level": 4.0}),
    ]
    batch, _ = batch_of(groups)
    assert {name: column.tolist() for name, column in batch.columns.items()} == {"level": [3, 3, 4]}
