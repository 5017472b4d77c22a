"""AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101), with 32-bit state or with 8-bit state.

8-bit state is that of Dettmers et al., 2022, arXiv:2110.02861, as bitsandbytes computes it. bitsandbytes
keeps the state of parameters with fewer than 4,096 numbers in 32 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from alignkit import Field, Optimizer, TrainedParameter, UserError, hookimpl, parameter_groups

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

alignkit_api = "1.0"


class Adam(Optimizer):
    """What the three have in common."""

    beta1: float = Field(0.9, ge=0, lt=1, description="share of the mean of gradients that a step keeps")
    beta2: float = Field(
        0.999, ge=0, lt=1, description="share of the mean of squared gradients that a step keeps"
    )
    epsilon: float = Field(1e-8, gt=0, description="number that keeps the division from overflowing")


class AdamW(Adam):
    """AdamW with 32-bit state, 8 bytes for each trained number (arXiv:1711.05101)."""

    name: ClassVar[str] = "adamw"

    def make(self, parameters: Sequence[TrainedParameter]) -> TorchOptimizer:
        """Return torch's fused AdamW."""
        import torch

        groups = parameter_groups(parameters)
        return torch.optim.AdamW(groups, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=True)


class AdamW8bit(Adam):
    """AdamW with 8-bit state, 2 bytes for each trained number (arXiv:2110.02861)."""

    name: ClassVar[str] = "adamw-8bit"

    def make(self, parameters: Sequence[TrainedParameter]) -> TorchOptimizer:
        """Return bitsandbytes' AdamW."""
        from bitsandbytes.optim.adamw import AdamW8bit

        return AdamW8bit(parameter_groups(parameters), betas=(self.beta1, self.beta2), eps=self.epsilon)


class PagedAdamW8bit(Adam):
    """AdamW with 8-bit state in paged CUDA memory, which moves to the CPU where the GPU is full."""

    name: ClassVar[str] = "paged-adamw-8bit"

    def make(self, parameters: Sequence[TrainedParameter]) -> TorchOptimizer:
        """Return bitsandbytes' paged AdamW. Raises UserError without a CUDA device."""
        from bitsandbytes.optim.adamw import PagedAdamW8bit

        if parameters[0].parameter.device.type != "cuda":
            raise UserError("paged optimizer state needs a CUDA device", hint="Use adamw-8bit or adamw.")
        return PagedAdamW8bit(parameter_groups(parameters), betas=(self.beta1, self.beta2), eps=self.epsilon)


@hookimpl
def register_optimizers(register):
    """Register the three."""
    register(AdamW)
    register(AdamW8bit)
    register(PagedAdamW8bit)
