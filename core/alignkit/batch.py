"""Defines what a method's author receives: completions as tensors, and the signals of the declared roles.

Dimensions, here and everywhere in alignkit:

    N completions   T completion tokens (padded)   G groups (prompts)   P pairs
    R rows          L row tokens                   V vocabulary         H hidden units
    M completion tokens of all completions, not padded
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from alignkit.errors import UserError
from alignkit.example import Text
from alignkit.signals import BUILT_IN_SIGNALS, STEP_END, how_to_declare

if TYPE_CHECKING:
    from torch import Tensor


class MissingSignal(AttributeError):
    """Raised where a signal is read that the objective neither declares nor prepares.

    This is the mistake of the objective's author. The message says how to get the signal.
    """


class MissingColumn(UserError, MissingSignal):
    """Raised where a column is read that the data lacks, which is a mistake in the recipe."""


@dataclass(frozen=True)
class Pairs:
    """All ordered pairs of a batch, P of them.

    winner, loser (P,): indices of completions. weight (P,): 1 ÷ (number of pairs of the group), so that each
    prompt counts once, times the data's own weight of the winner.
    """

    winner: Tensor
    loser: Tensor
    weight: Tensor


NO_COLUMN = (
    "Give every row a number {name!r}, with `rename: {{FOUND: {name}}}` in the data entry where it has "
    "another name, or turn off the option that reads it."
)


_ATTRIBUTES = ("logps", "entropy", "reference_logps", "scores", "values", "tokens", "mask", "group")
"""Names that are looked for where another one is misspelt."""


@dataclass(frozen=True)
class Prompt:
    """A prompt: its token ids, its text where it is known, and other prompts by the data's column."""

    tokens: list[int]
    text: Text | None = None
    others: Mapping[str, list[int]] = field(default_factory=dict)


REWARD_PART = "reward_parts/"
"""What stands before a reward's name in the signal that holds its scores."""


class RewardParts(dict[str, "Tensor"]):
    """The scores of every reward of a stage, (N,), by name."""

    def __missing__(self, name: str) -> Tensor:
        """Refuse a name that no reward has."""
        raise UserError(
            f"no reward of this stage is called {name!r}; found: {', '.join(sorted(self)) or 'none'}",
            hint="Name one of the stage's `reward`; those of `watch` are not given to objectives.",
        )


@dataclass(frozen=True)
class Batch:
    """N completions of G prompts, padded to T tokens, with one signal for each declared role.

    tokens (N, T): token ids. mask (N, T): true at the tokens to learn from, with end-of-sequence. group (N,):
    the number of each completion's prompt among the G `prompts`. step, steps: the optimizer step, from 0, and
    the number of all steps. sources: where `source`, (N,), counts the places from which completions came.
    absent: why columns that some rows of the data have are not here, by name.
    Columns and signals are read as attributes:

        logps, entropy, reference_logps, values   (N, T), fp32, zero outside the mask
        scores                                    (N,), fp32
        rank, weight, margin, label, reward, …    (N,), the data's columns; (N, T) for numbers per token
    """

    tokens: Tensor
    mask: Tensor
    group: Tensor
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    signals: Mapping[str, Tensor] = field(default_factory=dict)
    prompts: Sequence[Prompt] = ()
    step: int = 0
    steps: int = 1
    sources: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_"):
            raise AttributeError(name)
        for source in (self.signals, self.columns):
            if name in source:
                return source[name]
        declare = how_to_declare(name)
        if declare is not None:
            known = sorted({*self.signals, *BUILT_IN_SIGNALS, STEP_END})
            meant = [] if name in known else get_close_matches(name, known, n=1, cutoff=0.85)
            asked = f" Did you mean batch.{meant[0]}? Else declare" if meant else " Declare"
            raise MissingSignal(
                f"batch.{name} was read, but the objective does not declare it.{asked} {declare}."
            )
        close = get_close_matches(name, [*self.signals, *self.columns, *_ATTRIBUTES], n=1, cutoff=0.7)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        columns, signals = (", ".join(sorted(source)) or "none" for source in (self.columns, self.signals))
        if {"rewards", "sampler_logps"} & self.signals.keys() and name not in self.absent:
            raise MissingSignal(
                f"batch.{name} was read, but `prepare` adds no {name!r}.{meant} Signals here: "
                f"{signals}; columns: {columns}."
            )
        why = f": {self.absent[name]}" if name in self.absent else ""
        raise MissingColumn(
            f"the objective reads batch.{name}, but the data has no column {name!r}{why}; columns found: "
            f"{columns}; signals: {signals}",
            hint=meant.strip() or NO_COLUMN.format(name=name),
        )

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def get(self, column: str) -> Tensor | None:
        """Return an optional column of the data, (N,), or None where the data has no such column.

        In `loss` of an OnlineObjective it also finds what `prepare` added, and that first.
        """
        return self.signals.get(column, self.columns.get(column))

    def with_(self, **tensors: Tensor) -> Any:
        """Return this batch with further tensors, (N,) or (N, T), which are read as attributes."""
        return replace(self, signals={**self.signals, **tensors})

    def best(self) -> Tensor:
        """Return (N,), true at the best completions of each group by the column `rank`, ties included."""
        import torch

        groups = int(self.group.max()) + 1
        lowest = torch.full((groups,), float("inf"), device=self.rank.device)
        return self.rank == lowest.scatter_reduce(0, self.group, self.rank, "amin")[self.group]

    def sampled_from(self, source: str) -> Tensor:
        """Return (N,), true at the completions that came from the role `source`, or from `data`.

        Raises UserError where the objective takes none from there.
        """
        if source not in self.sources:
            found = ", ".join(self.sources) or "those of the data"
            raise UserError(
                f"no completions come from {source!r}; found: {found}",
                hint="`samples_from` of an OnlineObjective says from where completions come.",
            )
        return self.source == self.sources.index(source)

    @property
    def reward_parts(self) -> RewardParts:
        """Return the scores of every reward by itself, (N,), by the rewards' names, before weights.

        Reading a name that the stage's rewards lack raises UserError, which names them.
        """
        return RewardParts(
            (name.removeprefix(REWARD_PART), value)
            for name, value in self.signals.items()
            if name.startswith(REWARD_PART)
        )

    def group_sum(self, values: Tensor) -> Tensor:
        """Return, for each completion, the sum of `values`, (N,), over its group: (N,)."""
        size = int(self.group.max()) + 1
        return values.new_zeros(size).index_add_(0, self.group, values)[self.group]

    def group_mean(self, values: Tensor) -> Tensor:
        """Return, for each completion, the mean of `values`, (N,), over its group: (N,).

        Equal values have exactly this value as their mean, without a rounding error. Else what is left of
        them after the mean, divided by a deviation near 0, would be no longer near 0.
        """
        lowest = values.new_zeros(int(self.group.max()) + 1).scatter_reduce(
            0, self.group, values.detach(), "amin", include_self=False
        )[self.group]
        return lowest + self.group_sum(values - lowest) / self.group_size(values)

    def group_std(self, values: Tensor, *, unbiased: bool = True) -> Tensor:
        """Return, for each completion, the standard deviation of `values`, (N,), in its group: (N,).

        unbiased: divide by the group's size less one. It is exactly 0 where all values of a group are equal,
        and where a completion is alone in its group.
        """
        squared = self.group_sum((values - self.group_mean(values)).square())
        variance = squared / (self.group_size(values) - int(unbiased)).clamp(min=1)
        spread = variance > 0  # the root has no gradient at 0
        return variance.where(spread, 1.0).sqrt() * spread

    def other_mean(self, values: Tensor) -> Tensor:
        """Return, for each completion, the mean of `values` over the other completions of its group, (N,).

        It is 0 where a completion is alone in its group.
        """
        others = (self.group_size(values) - 1).clamp(min=1)
        return (self.group_sum(values) - values) / others

    def of_groups(self, values: Tensor) -> Tensor:
        """Return one number for each group, (G,), of numbers, (N,), that are equal within a group."""
        found = values.new_zeros(int(self.group.max()) + 1)
        return found.index_copy_(0, self.group, values)

    def group_size(self, like: Tensor) -> Tensor:
        """Return, for each completion, how many completions its group has: (N,), of the dtype of `like`."""
        return self.group_sum(like.new_ones(len(self)))

    def uniform(self) -> Tensor:
        """Return a random number in (0, 1) for each completion, (N,), another one in each optimizer step.

        It depends on nothing but the step, the prompt and the completion, so neither the cut into
        micro-batches nor a resumed run changes it. Equal completions of a prompt get equal numbers.
        """
        import torch

        numbers = []
        for tokens, mask, group in zip(self.tokens, self.mask, self.group.tolist(), strict=True):
            written = (self.step, self.prompts[group].tokens, tokens[mask].tolist())
            digest = sha256(repr(written).encode()).digest()
            numbers.append((int.from_bytes(digest[:4], "big") % 2**23 + 0.5) / 2**23)  # exact in fp32
        return torch.tensor(numbers, dtype=torch.float32, device=self.tokens.device)

    def pairs(self) -> Pairs:
        """Return all pairs of a better and a worse completion of the same group.

        The column `rank` says which is better: the lower one. Ties give no pair.
        """
        import torch

        rank, group = self.rank, self.group
        ordered = (group[:, None] == group[None, :]) & (rank[:, None] < rank[None, :])
        winner, loser = ordered.nonzero(as_tuple=True)
        count = torch.bincount(group[winner], minlength=int(group.max()) + 1 if len(group) else 0)
        weight = 1.0 / count[group[winner]].to(torch.float32)
        data_weight = self.get("weight")
        if data_weight is not None:
            weight = weight * data_weight[winner]
        return Pairs(winner, loser, weight)
