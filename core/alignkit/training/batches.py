"""Makes an objective's batches: groups laid out, with every signal that the objective declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from alignkit.batch import Batch
from alignkit.data.order import micro_batches
from alignkit.example import Group
from alignkit.models.computing import role_signals
from alignkit.models.roles import Roles
from alignkit.objective import Objective, overrides, roles_of_functions
from alignkit.training.calling import WRITES, arranged
from alignkit.training.sources import Source


@dataclass(frozen=True)
class StepGroups:
    """The groups of one optimizer step, or of one measurement.

    indices: their places in the source; empty where the objective arranged them anew. step: the optimizer
    step, from 0.
    """

    source: Source
    groups: list[Group]
    indices: list[int]
    step: int

    def parts(self, budget: int) -> list[list[int]]:
        """Cut the groups into micro-batches of at most `budget` tokens; return places among the groups."""
        return micro_batches(self.groups, range(len(self.groups)), budget)

    @property
    def tokens(self) -> int:
        """Count the tokens of the groups' prefix trees."""
        return sum(group.tokens for group in self.groups)


class ObjectiveBatches:
    """Makes the batches of one objective over the roles. steps: the optimizer steps of the stage."""

    def __init__(self, roles: Roles, objective: Objective, steps: int) -> None:
        self.roles, self.objective, self.steps = roles, objective, steps

    def choose(self, source: Source, indices: Sequence[int], step: int) -> StepGroups:
        """Return the source's groups at `indices`, as the objective arranges them."""
        places = sorted(indices)
        groups = [source.groups[index] for index in places]
        if overrides(self.objective, "arrange"):
            embeddings: Any = self.roles.base.model.get_input_embeddings()
            groups = arranged(self.objective, groups, embeddings.num_embeddings)
            return StepGroups(source, groups, [], step)
        return StepGroups(source, groups, places, step)

    def budget(self, micro_batch_tokens: int) -> int:
        """Return the tokens of a micro-batch: each trained adapter holds activations of its own."""
        trained = {self.roles.roles[name].adapter for name in self.objective.trains}
        return micro_batch_tokens // len(trained)

    def make(self, chosen: StepGroups, part: Sequence[int]) -> Batch:
        """Return the batch of the groups at the places `part`, with gradient to the trained roles."""
        objective, source = self.objective, chosen.source
        live = sorted({*objective.trains, *objective.reads} - set(source.names))
        groups = [chosen.groups[place] for place in part]
        rows = self.roles.rows(groups, {*live, *roles_of_functions(objective.over_vocabulary)})
        rows = rows.to(self.roles.base.device)
        known: dict[str, Tensor] = {}
        if chosen.indices:
            known = source.attach(rows, [chosen.indices[place] for place in part])
        with objective.state.locked("over_vocabulary", WRITES):
            computed = role_signals(
                self.roles,
                live,
                rows,
                entropy=objective.entropy,
                functions=objective.over_vocabulary,
                trained=objective.trains,
            )
        batch = rows.batch.with_(**{**known, **computed})  # what another objective trains is not as it was
        return replace(
            batch, step=chosen.step, steps=self.steps, sources=source.sources, absent=source.absent
        )


def join(batches: Sequence[Batch]) -> Batch:
    """Return one batch of all completions, padded alike, with the prompts numbered on."""
    width = max(batch.mask.shape[1] for batch in batches)
    groups, before = [], 0
    for batch in batches:
        groups.append(batch.group + before)
        before += int(batch.group.max()) + 1
    first = batches[0]
    return replace(
        first,
        tokens=torch.cat([_wide(batch.tokens, width) for batch in batches]),
        mask=torch.cat([_wide(batch.mask, width) for batch in batches]),
        group=torch.cat(groups),
        columns={
            name: torch.cat([_wide(batch.columns[name], width) for batch in batches])
            for name in first.columns
            if all(name in batch.columns for batch in batches)
        },
        signals={
            name: torch.cat([_wide(batch.signals[name], width) for batch in batches])
            for name in first.signals
        },
        prompts=tuple(prompt for batch in batches for prompt in batch.prompts),
    )


def cut(values: Tensor, batches: Sequence[Batch]) -> list[Tensor]:
    """Cut values of joined completions, (N, T) or (N,), into those of each batch."""
    parts = values.split([len(batch) for batch in batches])
    return [
        part[:, : batch.mask.shape[1]] if part.dim() == 2 else part
        for part, batch in zip(parts, batches, strict=True)
    ]


def _wide(tensor: Tensor, width: int) -> Tensor:
    """Pad (N, T) with zeros to (N, width); values per completion, (N,), stay as they are."""
    return pad(tensor, (0, width - tensor.shape[1])) if tensor.dim() == 2 else tensor
