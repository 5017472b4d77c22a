"""Defines what makes a stage's optimizer: the class that a plugin subclasses, and what it receives.

torch is not imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import torch
    from torch import nn

Part = Literal["A", "B", "head", "other"]
"""What a parameter is: LoRA's matrix A or B of a layer, a role's head, or anything else."""


@dataclass(frozen=True)
class TrainedParameter:
    """One trained parameter.

    role: the role that it belongs to. name: its name in the role's saved adapter. part: for a layer
    W + s·B·A, A is (r, D_in) and B is (D_out, r); a head is (1, D). rate: the highest learning rate of its
    role. weight_decay: the recipe's `weight_decay`.
    """

    role: str
    name: str
    part: Part
    parameter: nn.Parameter
    rate: float
    weight_decay: float


class Optimizer(BaseModel):
    """Makes the optimizer of a training stage. The fields of a subclass are its options."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    name: ClassVar[str]

    def make(
        self, parameters: Sequence[TrainedParameter]
    ) -> torch.optim.Optimizer | Sequence[torch.optim.Optimizer]:
        """Return the optimizer of the parameters, or several that each take some of them.

        Each parameter belongs to one group. The `lr` of a group is its highest learning rate: before each
        step the engine multiplies it by the schedule's factor. State must be tensors and numbers, because
        checkpoints carry nothing else. Where an optimizer has the methods `train` and `eval`, as
        schedule-free ones have, the weights that `eval` sets are measured and saved.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no `make`")


def parameter_groups(
    parameters: Iterable[TrainedParameter], faster: Callable[[TrainedParameter], float] | None = None
) -> list[dict[str, Any]]:
    """Return torch's parameter groups: parameters of the same learning rate and weight decay make one.

    faster: gives the factor by which a parameter learns faster than its role's rate; None means 1.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for one in parameters:
        rate = one.rate if faster is None else one.rate * faster(one)
        groups.setdefault((rate, one.weight_decay), []).append(one.parameter)
    return [
        {"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()
    ]
