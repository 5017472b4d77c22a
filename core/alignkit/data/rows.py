"""Lays groups out for one forward pass: as prefix trees in one packed row, or flat, one row per completion.

A tree holds prompt | completion 1 | completion 2 | …, so a prompt is computed once for all its completions.
The trees of a micro-batch stand one after another in a single row without padding. Attention works tree by
tree, so it costs no more than with separate rows. Both layouts give the same signals; trees are cheaper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, pairwise
from typing import Any

import torch
from torch import Tensor

from alignkit.batch import Batch, Prompt
from alignkit.example import Column, Group


@dataclass(frozen=True)
class Tree:
    """The place of a tree in its row.

    [start, prompt) is the prompt, [start, trunk) is the prompt with its first completion. branches: for each
    further completion its start, its end, and its additive attention mask over the prompt and itself, as
    `branch_mask` makes it.
    """

    start: int
    prompt: int
    trunk: int
    branches: tuple[tuple[int, int, Tensor], ...]


@dataclass(frozen=True)
class Rows:
    """Token rows, and the places in them at which completion tokens are predicted.

    input_ids, position_ids: (R, L). Of the completion tokens, M are inside the batch's mask. predicting (M,):
    for each of them, the index of the hidden state that predicts it, among the R·L of all rows. slot (M,):
    the token's index among the N·T of the batch. last (N,): the index of each completion's last token among
    the R·L. trees: the place of each tree in the single row; None means that the rows are flat. under: the
    same completions after other prompts, by the data's column.
    """

    input_ids: Tensor
    position_ids: Tensor
    predicting: Tensor
    slot: Tensor
    last: Tensor
    batch: Batch
    trees: tuple[Tree, ...] | None = None
    under: Mapping[str, Rows] = field(default_factory=dict)

    def scatter(self, values: Tensor) -> Tensor:
        """Return values of the tokens inside the mask, (M,), as (N, T) with zeros elsewhere."""
        shape = self.batch.mask.shape
        return (
            torch.zeros(shape.numel(), dtype=values.dtype, device=values.device)
            .scatter(0, self.slot, values)
            .view(shape)
        )

    def to(self, device: torch.device) -> Rows:
        """Return the same rows on a device."""
        if device.type == "cpu":
            return self
        batch = self.batch
        moved = replace(
            batch,
            tokens=batch.tokens.to(device),
            mask=batch.mask.to(device),
            group=batch.group.to(device),
            columns={name: column.to(device) for name, column in batch.columns.items()},
        )
        tensors: dict[str, Any] = {
            name: getattr(self, name).to(device)
            for name in ("input_ids", "position_ids", "predicting", "slot", "last")
        }
        trees = self.trees and tuple(
            replace(tree, branches=tuple((start, end, mask.to(device)) for start, end, mask in tree.branches))
            for tree in self.trees
        )
        under = {column: rows.to(device) for column, rows in self.under.items()}
        return replace(self, batch=moved, trees=trees, under=under, **tensors)


def tree_rows(groups: Sequence[Group]) -> Rows:
    """Lay groups out as prefix trees in one packed row, (1, L): L counts each prompt once."""
    ids, positions, predicting, last, trees = [], [], [], [], []
    for group in groups:
        start, prompt = len(ids), len(group.prompt)
        ids += group.prompt
        positions += range(prompt)
        ends = []
        for number, completion in enumerate(group.completions):
            first = len(ids)
            before = [start + prompt - 1, *range(first, first + len(completion) - 1)]
            predicting += compress(before, _mask(group, number))
            ids += completion
            ends.append(len(ids))
            positions += range(prompt, prompt + len(completion))
        last += [end - 1 for end in ends]
        branches = tuple((first, end, branch_mask(prompt, end - first)) for first, end in pairwise(ends))
        trees.append(Tree(start, start + prompt, ends[0], branches))
    batch, slot = batch_of(groups)
    row = torch.tensor([ids]), torch.tensor([positions])
    return Rows(*row, torch.tensor(predicting), slot, torch.tensor(last), batch, tuple(trees))


def flat_rows(groups: Sequence[Group]) -> Rows:
    """Lay groups out with one row per completion, (N, L), each with its prompt.

    Rows are padded on the right, where causal attention never looks.
    """
    sequences = [
        (group.prompt, completion, _mask(group, number))
        for group in groups
        for number, completion in enumerate(group.completions)
    ]
    length = max(len(prompt) + len(completion) for prompt, completion, _ in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    predicting, last = [], []
    for row, (prompt, completion, mask) in enumerate(sequences):
        end = len(prompt) + len(completion)
        ids[row, :end] = torch.tensor(prompt + completion)
        predicting += compress(range(row * length + len(prompt) - 1, row * length + end - 1), mask)
        last.append(row * length + end - 1)
    batch, slot = batch_of(groups)
    positions = torch.arange(length).expand(len(sequences), -1)
    return Rows(ids, positions, torch.tensor(predicting), slot, torch.tensor(last), batch)


def batch_of(groups: Sequence[Group]) -> tuple[Batch, Tensor]:
    """Return the groups' completions padded to (N, T), and `slot`, (M,).

    `slot` is the index of each token inside the mask among the N·T. The batch has the columns that every
    group has, (N,), or (N, T) for numbers of tokens, which are zero outside the mask. A number of a prompt
    is that of each of its completions.
    """
    completions = [completion for group in groups for completion in group.completions]
    width = max(map(len, completions))
    tokens = torch.zeros(len(completions), width, dtype=torch.long)
    mask = torch.zeros(len(completions), width, dtype=torch.bool)
    masks = [_mask(group, number) for group in groups for number in range(len(group.completions))]
    for index, (completion, learned) in enumerate(zip(completions, masks, strict=True)):
        tokens[index, : len(completion)] = torch.tensor(completion)
        mask[index, : len(completion)] = torch.tensor(learned)
    owner = torch.tensor([number for number, group in enumerate(groups) for _ in group.completions])
    columns = {
        name: _column([entry for group in groups for entry in _entries(group, name)], mask)
        for name in (*groups[0].columns, *groups[0].prompt_columns)
        if all(name in group.columns or name in group.prompt_columns for group in groups)
    }
    prompts = tuple(Prompt(group.prompt, group.text, group.prompts) for group in groups)
    return Batch(tokens, mask, owner, columns, prompts=prompts), mask.flatten().nonzero().squeeze(1)


def _mask(group: Group, number: int) -> tuple[bool, ...]:
    """Return, for each token of completion `number`, whether the policy wrote it."""
    return (True,) * len(group.completions[number]) if group.masks is None else group.masks[number]


def _entries(group: Group, name: str) -> Column:
    """Return the column's entry for each completion of the group."""
    if name in group.columns:
        return group.columns[name]
    return (group.prompt_columns[name],) * len(group.completions)


def _column(entries: Sequence[Any], mask: Tensor) -> Tensor:
    """Return numbers of completions as (N,), those of tokens as (N, T), zero outside the mask, (N, T)."""
    if not isinstance(entries[0], tuple):
        return torch.tensor(entries, dtype=torch.float32)
    padded = torch.zeros(mask.shape)
    for index, numbers in enumerate(entries):
        padded[index, : len(numbers)] = torch.tensor(numbers)
    return padded * mask


def branch_mask(prompt: int, completion: int) -> Tensor:
    """Return the additive attention mask of a completion that sees its whole prompt and, causally, itself.

    For a prompt of P tokens and a completion of T it is (T, P + T): 0 where the completion looks, −inf
    elsewhere.
    """
    return torch.full((completion, prompt + completion), float("-inf")).triu(prompt + 1)
