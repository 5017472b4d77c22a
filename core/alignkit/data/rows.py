"""Lays groups out for one forward pass: as prefix trees in one packed row, or flat, one padded row a
completion.

A tree holds prompt | completion 1 | completion 2 | …; a prompt is computed once for all its completions. The
trees of a micro-batch stand one after another in a single row without padding, and attention works tree by
tree, so its cost is that of separate rows. Both layouts give the same signals; only `tree_rows` is cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from alignkit.batch import Batch
from alignkit.example import Group


@dataclass(frozen=True)
class Tree:
    """Where a tree lies in its row: [start, prompt) is the prompt, [start, trunk) the prompt and its first
    completion.

    branches: the further completions' (start, end) and additive attention mask (R, P + R) over the prompt and
    themselves.
    """

    start: int
    prompt: int
    trunk: int
    branches: tuple[tuple[int, int, Tensor], ...]


@dataclass(frozen=True)
class Rows:
    """Token rows, and where in them each completion token is predicted.

    input_ids, position_ids: (R, L). trees: where each tree lies in the single row; None when laid flat.
    predicting (M,): index into the R·L hidden states of the one that predicts a completion token; slot (M,):
    that token's index in the batch's N·T; last (N,): index into R·L of each completion's last token.
    """

    input_ids: Tensor
    position_ids: Tensor
    predicting: Tensor
    slot: Tensor
    last: Tensor
    batch: Batch
    trees: tuple[Tree, ...] | None = None

    def scatter(self, values: Tensor) -> Tensor:
        """(M,) values of completion tokens as (N, T), zero elsewhere."""
        shape = self.batch.mask.shape
        return (
            torch.zeros(shape.numel(), dtype=values.dtype, device=values.device)
            .scatter(0, self.slot, values)
            .view(shape)
        )

    def to(self, device: torch.device) -> Rows:
        """The same rows on a device."""
        if device.type == "cpu":
            return self
        batch = self.batch
        moved = Batch(
            batch.tokens.to(device),
            batch.mask.to(device),
            batch.group.to(device),
            {name: column.to(device) for name, column in batch.columns.items()},
        )
        tensors: dict[str, Any] = {
            name: getattr(self, name).to(device)
            for name in ("input_ids", "position_ids", "predicting", "slot", "last")
        }
        trees = self.trees and tuple(
            replace(tree, branches=tuple((start, end, mask.to(device)) for start, end, mask in tree.branches))
            for tree in self.trees
        )
        return replace(self, batch=moved, trees=trees, **tensors)


def tree_rows(groups: Sequence[Group]) -> Rows:
    """One packed row of prefix trees, (1, Σ (P + ΣR))."""
    ids, positions, predicting, last, trees = [], [], [], [], []
    for group in groups:
        start, prompt = len(ids), len(group.prompt)
        ids += group.prompt
        positions += range(prompt)
        ends = []
        for completion in group.completions:
            first = len(ids)
            predicting += [start + prompt - 1, *range(first, first + len(completion) - 1)]
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
    """One row a completion, prompt repeated, padded on the right to (N, L); causal attention never looks at
    the padding.
    """
    sequences = [(group.prompt, completion) for group in groups for completion in group.completions]
    length = max(len(prompt) + len(completion) for prompt, completion in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    predicting, last = [], []
    for row, (prompt, completion) in enumerate(sequences):
        end = len(prompt) + len(completion)
        ids[row, :end] = torch.tensor(prompt + completion)
        predicting += range(row * length + len(prompt) - 1, row * length + end - 1)
        last.append(row * length + end - 1)
    batch, slot = batch_of(groups)
    positions = torch.arange(length).expand(len(sequences), -1)
    return Rows(ids, positions, torch.tensor(predicting), slot, torch.tensor(last), batch)


def batch_of(groups: Sequence[Group]) -> tuple[Batch, Tensor]:
    """The groups' completions padded to (N, T), and `slot` (M,), the index of each completion token in
    N·T.
    """
    completions = [completion for group in groups for completion in group.completions]
    width = max(map(len, completions))
    tokens = torch.zeros(len(completions), width, dtype=torch.long)
    mask = torch.zeros(len(completions), width, dtype=torch.bool)
    for index, completion in enumerate(completions):
        tokens[index, : len(completion)] = torch.tensor(completion)
        mask[index, : len(completion)] = True
    owner = torch.tensor([number for number, group in enumerate(groups) for _ in group.completions])
    columns = {
        name: torch.tensor([value for group in groups for value in group.columns[name]], dtype=torch.float32)
        for name in groups[0].columns
        if all(name in group.columns for group in groups)
    }
    return Batch(tokens, mask, owner, columns), mask.flatten().nonzero().squeeze(1)


def branch_mask(prompt: int, completion: int) -> Tensor:
    """Additive mask (R, P + R) of a completion that sees its whole prompt and, causally, itself: 0 where it
    looks, −inf elsewhere.
    """
    return torch.full((completion, prompt + completion), float("-inf")).triu(prompt + 1)
