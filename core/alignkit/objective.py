"""Defines what a method's author writes: an objective and its loss. torch is not imported here, so that
`alignkit check` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from alignkit.errors import UserError
from alignkit.measure import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from alignkit.batch import Batch, Rollouts


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
class Loss:
    """What `Objective.loss` returns. The engine minimizes Σ weight·terms ÷ Σ weight over the optimizer step.

    terms: a tensor of any shape. weight: the same shape, 1 for each term where None; for a loss per token
    pass the mask. metrics: tensors to average. A tensor of the weight's shape is weighted by it; of any other
    each value counts once.
    """

    terms: Tensor
    weight: Tensor | None = None
    metrics: Mapping[str, Tensor] | None = None

    def total(self) -> tuple[Tensor, float]:
        """Return Σ weight·terms, with its gradient, and Σ weight.

        Raises UserError where terms and weight have different shapes.
        """
        if self.weight is not None and self.weight.shape != self.terms.shape:
            raise UserError(
                f"the objective returned terms of shape {tuple(self.terms.shape)} "
                f"and weight of shape {tuple(self.weight.shape)}",
                hint="Loss(terms, weight) needs equal shapes; for a loss per token pass the mask.",
            )
        return self.weigh(self.terms)

    def weigh(self, values: Tensor) -> tuple[Tensor, float]:
        """Return Σ weight·values and Σ weight; without a weight of the same shape each value counts once.

        An item of weight zero is left out, even where its value is not finite.
        """
        import torch

        if self.weight is None or self.weight.shape != values.shape:
            return values.sum(), float(values.numel())
        weight = self.weight.to(values.dtype)
        return torch.where(weight > 0, values, 0.0).mul(weight).sum(), float(weight.sum())


class Objective(BaseModel):
    """A method: which data it learns from, which roles it trains and reads, and its loss.

    Pydantic fields of a subclass are the options that a recipe may set. `trains` and `reads` may be
    properties where an option decides. `metrics` gives the labels and units of the metrics that `loss`
    reports, and how they are shown.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)

    name: ClassVar[str]
    data: ClassVar[type[DataKind]]
    trains: ClassVar[Set[str]] = frozenset({"policy"})
    reads: ClassVar[Set[str]] = frozenset()
    entropy: ClassVar[bool] = False
    metrics: ClassVar[Mapping[str, Metric]] = {}
    _state: dict[str, float] = PrivateAttr(default_factory=dict)

    @property
    def state(self) -> dict[str, float]:
        """Return the numbers to remember between steps; checkpoints carry them."""
        return self._state

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of a micro-batch, with gradient in the signals of the trained roles."""
        raise NotImplementedError(f"{type(self).__name__} defines no `loss`")


class OnlineObjective(Objective):
    """A method that learns from the policy's own samples.

    It takes `epochs` × `minibatches` optimizer steps on each batch of them.
    """

    samples_per_prompt: int = Field(4, ge=1, description="completions sampled for each prompt")
    epochs: int = Field(1, ge=1, description="passes over each batch of samples")
    minibatches: int = Field(
        1, ge=1, description="optimizer steps of each pass; a minibatch holds whole prompts"
    )

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Compute what `loss` will need, once for each batch of rollouts, without gradient."""
        return rollouts


def updates_per_batch(objective: Objective) -> int:
    """Return the number of optimizer steps that one batch of groups serves."""
    return objective.epochs * objective.minibatches if isinstance(objective, OnlineObjective) else 1
