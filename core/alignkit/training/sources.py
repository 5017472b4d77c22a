"""Where an optimizer step's groups come from: fixed data here, the policy's own samples in
`alignkit.rollouts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from alignkit.data.order import step_indices
from alignkit.data.rows import Rows
from alignkit.example import Group
from alignkit.models.frozen import FrozenSignals


class Source(Protocol):
    """Groups for each step, and the signals that need no computing any more. `names`: the roles of those
    signals.
    """

    names: tuple[str, ...]

    @property
    def groups(self) -> Sequence[Group]:
        """The groups that `indices` counts."""
        ...

    def open(self, steps: int, show: Callable[[int, int], None]) -> None:
        """What is done once before training."""
        ...

    def begin(self, step: int) -> dict[str, float]:
        """Make ready what step `step` (from 0) needs; returns metrics of it."""
        ...

    def indices(self, step: int) -> list[int]:
        """The groups of the step."""
        ...

    def attach(self, rows: Rows, indices: Sequence[int]) -> dict[str, Tensor]:
        """The known signals of these groups, laid out as the rows' batch is."""
        ...

    def forget_before(self, step: int) -> None:
        """No run will be resumed from before `step`."""
        ...


class FixedSource:
    """Data that does not change: shuffled anew each epoch, signals of frozen roles computed once."""

    def __init__(self, groups: Sequence[Group], cache: FrozenSignals, seed: int, batch_size: int) -> None:
        self.groups, self.cache, self.seed, self.batch_size = groups, cache, seed, batch_size
        self.names = cache.names

    def open(self, steps: int, show: Callable[[int, int], None]) -> None:
        """Compute the signals of frozen roles for the groups that will be visited."""
        if self.names:
            self.cache.compute(sorted({index for step in range(steps) for index in self.indices(step)}), show)

    def begin(self, step: int) -> dict[str, float]:
        """Nothing."""
        return {}

    def indices(self, step: int) -> list[int]:
        """The groups of the step, a function of (seed, step)."""
        return step_indices(self.seed, step, len(self.groups), self.batch_size)

    def attach(self, rows: Rows, indices: Sequence[int]) -> dict[str, Tensor]:
        """The cached signals."""
        return self.cache.attach(rows, indices)

    def forget_before(self, step: int) -> None:
        """Nothing."""
