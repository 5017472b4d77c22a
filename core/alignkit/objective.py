"""Defines what a method's author writes: an objective and its loss. torch is not imported here, so that
`alignkit check` answers at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from alignkit.errors import UserError
from alignkit.measure import Metric
from alignkit.signals import BUILT_IN, POLICY, KindName, Role, signals_of
from alignkit.state import State

if TYPE_CHECKING:
    from torch import Tensor

    from alignkit.batch import Batch
    from alignkit.example import Group
    from alignkit.rollouts import Rollouts


class DataKind:
    """What an objective learns from. The subclasses are names; `alignkit.data` makes each of them from
    files.
    """


class Demonstrations(DataKind):
    """One completion per prompt, to imitate. Of ranked completions, the best one."""


class Preferences(DataKind):
    """Two or more completions per prompt, ranked by the column `rank`: lower is better, ties are allowed."""


class Labelled(DataKind):
    """Completions that were each found good or bad by itself: column `label`, 1 or 0."""


class Stepwise(DataKind):
    """One completion for each prompt, in steps that were each found right or wrong.

    Columns (N, T): `step_end`, 1 at the last token of each step, and `label`, 1 at the last token of a right
    step; both are 0 elsewhere.
    """


class Prompts(DataKind):
    """Prompts alone; the policy writes the completions."""


@dataclass(frozen=True)
class Average:
    """A metric with weights of its own: Σ weight·values ÷ Σ weight over the optimizer step.

    weight: a tensor of the same shape as `values`; None means that each value counts once.
    """

    values: Tensor
    weight: Tensor | None = None

    def sums(self) -> tuple[Tensor, float]:
        """Return Σ weight·values and Σ weight.

        An item of weight zero is left out, even where its value is not finite.
        """
        import torch

        if self.weight is None:
            return self.values.sum(), float(self.values.numel())
        weight = self.weight.to(self.values.dtype)
        return torch.where(weight > 0, self.values, 0.0).mul(weight).sum(), float(weight.sum())


@dataclass(frozen=True)
class Loss:
    """What `Objective.loss` returns. The engine minimizes factor · Σ weight·terms ÷ Σ weight over the step.

    terms: a tensor of any shape. weight: the same shape, 1 for each term where None; for a loss per token
    pass the mask. metrics: tensors of the terms' shape, averaged with the same weight, or `Average`s with
    weights of their own. Without a weight, a tensor may have any shape and each of its values counts once.
    factor: multiplies this loss where `loss` returns several of them.
    """

    terms: Tensor
    weight: Tensor | None = None
    metrics: Mapping[str, Tensor | Average] | None = None
    factor: float = 1.0

    def total(self) -> tuple[Tensor, float]:
        """Return Σ weight·terms, with its gradient, and Σ weight."""
        return Average(self.terms, self.weight).sums()

    def averages(self) -> dict[str, Average]:
        """Return the metrics, each with its weights.

        Raises UserError for a tensor whose weights are not clear.
        """
        return {name: self._average(name, value) for name, value in (self.metrics or {}).items()}

    def _average(self, name: str, value: Tensor | Average) -> Average:
        if isinstance(value, Average):
            return value
        if self.weight is None or value.shape == self.weight.shape:
            return Average(value, self.weight)
        raise UserError(
            f"the metric {name!r} has the shape {tuple(value.shape)}, and the terms with their weight have "
            f"{tuple(self.weight.shape)}, so its weights are not known",
            hint=f"Name them: {{{name!r}: Average(values, weight)}}; Average(values) counts each value once.",
        )


class Objective(BaseModel):
    """A method: which data it learns from, which roles it trains and reads, and its loss.

    Pydantic fields of a subclass are the options that a recipe may set. Every declaration but `name` and
    `data` is optional. All but these two and `metrics` may be a property, where an option decides.

    trains, reads: the roles that get gradients, and those that are computed without. roles: further roles,
    each with its kind (see `Role`). entropy: compute the policy's entropy too. over_vocabulary: functions of
    the roles' distributions. Each takes log-probabilities (C, V) of the roles that its parameters name, and
    returns one number for each of the C tokens, (C,); the batch has it as (N, T) by the function's name here.
    scope: what `loss` sees at once, a micro-batch or the whole optimizer step. metrics: the labels and units
    of the metrics that `loss` reports, and how they are shown.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)

    name: ClassVar[str]
    data: ClassVar[type[DataKind]]
    trains: ClassVar[Set[str]] = frozenset({POLICY})
    reads: ClassVar[Set[str]] = frozenset()
    roles: ClassVar[Mapping[str, KindName | Role]] = {}
    entropy: ClassVar[bool] = False
    over_vocabulary: ClassVar[Mapping[str, Callable[..., Tensor]]] = {}
    scope: ClassVar[Literal["micro-batch", "step"]] = "micro-batch"
    metrics: ClassVar[Mapping[str, Metric]] = {}
    _state: State = PrivateAttr(default_factory=State)

    @property
    def state(self) -> State:
        """Return the numbers to remember between steps. Checkpoints carry them; `loss` can only read them."""
        return self._state

    def begin_step(self, step: int, steps: int) -> None:
        """Do what is due before optimizer step `step`, from 0, of `steps`. It may write the state."""

    def end_step(self, metrics: Mapping[str, float]) -> None:
        """Do what is due after an optimizer step. It may write the state.

        metrics: the averages over the whole step of what `loss` reported, and of its terms as `loss`.
        """

    def arrange(self, groups: Sequence[Group]) -> Sequence[Group]:
        """Return the groups of an optimizer step, perhaps with further completions or columns.

        It must depend on nothing but its argument. Signals are computed of what it returns. It is for groups
        of data: an OnlineObjective changes rollouts in `prepare`.
        """
        return groups

    def loss(self, batch: Batch) -> Loss | Sequence[Loss]:
        """Return the loss of a batch, with gradient in the signals of the trained roles.

        Several losses are normalized each by its own weights, and added with their factors.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no `loss`")


class OnlineObjective(Objective):
    """A method that learns from samples of the policy, and of other roles where `samples_from` names them.

    It takes `epochs` × `minibatches` optimizer steps on each batch of them. samples_from: how many
    completions of each prompt come from which role; the key `data` stands for the data's own completions.
    Empty means that the policy gives `samples_per_prompt`. rewarded: whether it learns from rewards; where it
    does not, a stage needs none, and rollouts have none. max_rounds: where `accept` refuses prompts, how many
    rounds of prompts are drawn for a batch before it stays smaller.

    step_separator: text that stands between two steps of a sample. The rollouts then have `step_end`, (N, T),
    1 at the last token of each step, as data of the kind Stepwise has it.
    """

    samples_from: ClassVar[Mapping[str, int]] = {}
    rewarded: ClassVar[bool] = True
    max_rounds: ClassVar[int] = 10
    step_separator: ClassVar[str | None] = None
    samples_per_prompt: int = Field(4, ge=1, description="completions sampled for each prompt")
    epochs: int = Field(1, ge=1, description="passes over each batch of samples")
    minibatches: int = Field(
        1, ge=1, description="optimizer steps of each pass; a minibatch holds whole prompts"
    )

    def accept(self, rollouts: Rollouts) -> Tensor:
        """Return (G,), true for each prompt whose samples are used; others are drawn for those refused.

        The rollouts have rewards and columns, but no signals of roles, which are computed for accepted
        prompts alone.
        """
        import torch

        return torch.ones(int(rollouts.group.max()) + 1, dtype=torch.bool)

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Compute what `loss` will need, once for each batch of rollouts, without gradient."""
        return rollouts


DATA = "data"
"""Stands for the data's own completions in `samples_from`."""


def sources_of(objective: OnlineObjective) -> dict[str, int]:
    """Return how many completions of each prompt come from which role, or from the data."""
    return dict(objective.samples_from or {POLICY: objective.samples_per_prompt})


def updates_per_batch(objective: Objective) -> int:
    """Return the number of optimizer steps that one batch of groups serves."""
    return objective.epochs * objective.minibatches if isinstance(objective, OnlineObjective) else 1


def roles_of(objective: Objective | type[Objective]) -> dict[str, Role]:
    """Return every role that the objective may name, built in or declared."""
    declared = {
        name: role if isinstance(role, Role) else Role(role) for name, role in objective.roles.items()
    }
    return {**BUILT_IN, **declared}


def trained_by(objective: Objective) -> dict[str, Role]:
    """Return the roles that the objective trains and that have an adapter of their own."""
    known = roles_of(objective)
    return {name: known[name] for name in sorted(objective.trains) if known[name].shares is None}


def roles_of_function(function: Callable[..., Tensor]) -> tuple[str, ...]:
    """Return the roles that the parameters of a function of `over_vocabulary` name.

    Parameters with a default name none.
    """
    parameters = inspect.signature(function).parameters.items()
    return tuple(name for name, parameter in parameters if parameter.default is parameter.empty)


def roles_of_functions(functions: Mapping[str, Callable[..., Tensor]]) -> set[str]:
    """Return all roles that functions of `over_vocabulary` name."""
    return {role for function in functions.values() for role in roles_of_function(function)}


def signals_for(objective: Objective, roles: Iterable[str]) -> list[str]:
    """Return the names of the signals that these roles give the objective, role by role."""
    known = roles_of(objective)
    return [
        name
        for role in sorted(roles)
        for name in signals_of(role, known[role].kind, entropy=objective.entropy)
    ]


def trained_signals(objective: Objective) -> list[str]:
    """Return the names of the signals, and functions of the vocabulary, that have a gradient."""
    trained = set(objective.trains)
    functions = objective.over_vocabulary.items()
    over = [name for name, function in functions if trained & set(roles_of_function(function))]
    return [*signals_for(objective, trained), *over]


def overrides(objective: Objective, method: str) -> bool:
    """Tell whether the objective's class defines the method, instead of inheriting it from alignkit."""
    inherited = (getattr(cls, method, None) for cls in (Objective, OnlineObjective))
    return getattr(type(objective), method) not in inherited
