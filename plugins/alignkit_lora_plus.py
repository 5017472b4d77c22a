"""LoRA+: AdamW where LoRA's B matrices learn faster than its A matrices.

Source: Hayou et al., 2024, arXiv:2402.12354. In a wide layer W + s·B·A, features are learned efficiently
where the learning rate of B is η_B = λ·η_A with λ well above 1; the paper recommends λ = 2⁴. Here η_A is the
recipe's learning rate. The paper says nothing of heads, which learn at the recipe's rate too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from alignkit import Field, Optimizer, TrainedParameter, hookimpl, parameter_groups

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

alignkit_api = "1.0"


class LoraPlus(Optimizer):
    """AdamW whose B matrices learn faster than A (Hayou et al., 2024, arXiv:2402.12354)."""

    name: ClassVar[str] = "lora-plus"
    ratio: float = Field(16.0, gt=0, description="how many times faster B learns than A")

    def make(self, parameters: Sequence[TrainedParameter]) -> TorchOptimizer:
        """Return torch's AdamW with a group for the B matrices and one for the rest."""
        import torch

        groups = parameter_groups(parameters, lambda one: self.ratio if one.part == "B" else 1.0)
        return torch.optim.AdamW(groups, fused=True)


@hookimpl
def register_optimizers(register):
    """Register the optimizer `lora-plus`."""
    register(LoraPlus)
