"""Says where the groups of an optimizer step come from; fixed data is here, rollouts are in `rollouts.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from alignkit.data.order import step_indices, steps_per_epoch
from alignkit.data.rows import Rows
from alignkit.errors import UserError
from alignkit.example import Group
from alignkit.models.computing import forward_budget
from alignkit.models.frozen import FrozenSignals
from alignkit.models.roles import Roles
from alignkit.objective import Objective, overrides, roles_of_functions, signals_for
from alignkit.observer import ObservedRollouts
from alignkit.progress import Progress
from alignkit.recipe import Training


class Source(Protocol):
    """Gives the groups of each step, and the signals that are already known.

    names: the roles of those signals. steps_per_epoch: optimizer steps that use each example once. sources:
    from where the completions came, by name; empty for the data's own. absent: why columns that some rows
    have are not there, by name. drawn_in: seconds that the new samples of the present step took; None where
    it has none.
    """

    names: tuple[str, ...]
    steps_per_epoch: int
    sources: tuple[str, ...]
    absent: Mapping[str, str]
    drawn_in: float | None

    @property
    def groups(self) -> Sequence[Group]:
        """Return the groups that `indices` counts."""
        ...

    def open(self, steps: int, progress: Progress) -> None:
        """Do what is done once, before the first step."""
        ...

    def begin(self, step: int) -> dict[str, float]:
        """Make ready what step `step` (from 0) needs; return metrics of it."""
        ...

    def drawn(self, step: int) -> ObservedRollouts | None:
        """Return the batch of samples that step `step` was the first to use; None where there is none."""
        ...

    def indices(self, step: int) -> list[int]:
        """Return the indices of the step's groups."""
        ...

    def attach(self, rows: Rows, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return the known signals of these groups, laid out as the rows' batch is: (N, T) or (N,)."""
        ...

    def forget_before(self, step: int) -> None:
        """Drop what only steps before `step` need: no run will be resumed from there."""
        ...


class FixedSource:
    """Data that does not change: shuffled anew in each epoch, signals of frozen roles computed once."""

    sources = ()
    drawn_in: float | None = None

    def __init__(
        self,
        groups: Sequence[Group],
        cache: FrozenSignals,
        seed: int,
        batch_size: int,
        absent: Mapping[str, str],
    ) -> None:
        self.groups, self.cache, self.seed, self.batch_size = groups, cache, seed, batch_size
        self.absent = absent
        self.names = cache.names
        self.steps_per_epoch = steps_per_epoch(len(groups), batch_size)

    def open(self, steps: int, progress: Progress) -> None:
        """Compute the signals of frozen roles for the groups that will be visited."""
        if self.names:
            visited = {index for step in range(steps) for index in self.indices(step)}
            self.cache.compute(sorted(visited), progress)

    def begin(self, step: int) -> dict[str, float]:
        """Do nothing: everything is there."""
        return {}

    def drawn(self, step: int) -> ObservedRollouts | None:
        """Return None: nothing is sampled."""
        return None

    def indices(self, step: int) -> list[int]:
        """Return the indices of the step's groups, a function of (seed, step)."""
        return step_indices(self.seed, step, len(self.groups), self.batch_size)

    def attach(self, rows: Rows, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return the cached signals."""
        return self.cache.attach(rows, indices)

    def forget_before(self, step: int) -> None:
        """Keep everything: each epoch needs it again."""


def fixed_source(
    objective: Objective,
    groups: Sequence[Group],
    roles: Roles,
    settings: Training,
    *,
    folder: Path,
    seed: int,
    note: Callable[[str], None],
    absent: Mapping[str, str] | None = None,
) -> FixedSource:
    """Make the source of an objective's groups; `folder` keeps the signals of roles that it only reads.

    absent: see `Source`. Raises UserError where a column has the name of a signal.
    """
    require_free_names(objective, groups)
    frozen: list[str] = []
    if not overrides(objective, "arrange"):  # else signals of the data as it is are of no use
        # what functions of the vocabulary name is computed in each step anyway
        read = set(objective.reads) - roles_of_functions(objective.over_vocabulary)
        frozen = sorted(role for role in read if _is_frozen(roles, role))
    budget = forward_budget(settings.micro_batch_tokens)
    cache = FrozenSignals(folder, roles, frozen, groups, budget, note, entropy=objective.entropy)
    return FixedSource(groups, cache, seed, settings.batch_size, absent or {})


def _is_frozen(roles: Roles, name: str) -> bool:
    """Tell whether a role's signals never change: neither it nor a role with the same adapter moves."""
    role = roles.roles[name]
    sharing = [other for other in roles.roles.values() if other.adapter == role.adapter is not None]
    return not any(one.trainable or one.following is not None for one in (role, *sharing))


def require_free_names(objective: Objective, groups: Sequence[Group]) -> None:
    """Refuse a column of the data that is called like a signal which the objective declares."""
    signals = {*signals_for(objective, {*objective.trains, *objective.reads}), *objective.over_vocabulary}
    columns = {name for group in groups[:1] for name in (*group.columns, *group.prompt_columns)}
    for name in sorted(signals & columns):
        raise UserError(
            f"the data has a column {name!r}, and the objective computes a signal of this name",
            where=f"objective {objective.name!r}",
            hint=f"Give the column another name, with `rename: {{{name}: OTHER}}` in the data entry.",
        )
