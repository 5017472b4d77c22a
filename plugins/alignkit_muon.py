"""Muon: the momentum of each matrix, made orthogonal before it is added (Jordan et al., 2024).

Source: https://kellerjordan.github.io/posts/muon. For the momentum M of a gradient with the singular value
decomposition M = U·S·Vᵀ, a step moves the matrix along −U·Vᵀ, which five Newton–Schulz iterations
approximate.

Deviations: LoRA's matrices A and B take the place of the layer's matrix. What is not such a matrix, a head
for example, learns by AdamW at the same rate. The size of a step is that of Liu et al., 2025,
arXiv:2502.16982, section 2.2: 0.2·√max(rows, columns) times the learning rate, so that rates that suit AdamW
suit Muon too; `scale: original` takes that of Jordan et al., √max(1, rows ÷ columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from alignkit import Field, Optimizer, TrainedParameter, hookimpl, parameter_groups

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

alignkit_api = "1.0"


class Muon(Optimizer):
    """Steps along the orthogonal part of the momentum of each matrix (Jordan et al., 2024)."""

    name: ClassVar[str] = "muon"
    momentum: float = Field(0.95, ge=0, lt=1, description="share of the momentum that a step keeps")
    scale: Literal["adamw", "original"] = Field(
        "adamw",
        description="size of a step: adamw suits the learning rates of AdamW, original is the paper's",
    )

    def make(self, parameters: Sequence[TrainedParameter]) -> list[TorchOptimizer]:
        """Return torch's Muon of LoRA's matrices, and AdamW of the rest where there is any."""
        import torch

        matrices = [one for one in parameters if one.part in ("A", "B") and one.parameter.ndim == 2]
        rest = [one for one in parameters if not (one.part in ("A", "B") and one.parameter.ndim == 2)]
        scale = "match_rms_adamw" if self.scale == "adamw" else "original"
        made: list[TorchOptimizer] = []
        if matrices:
            groups = parameter_groups(matrices)
            made.append(torch.optim.Muon(groups, momentum=self.momentum, adjust_lr_fn=scale))
        if rest:
            made.append(torch.optim.AdamW(parameter_groups(rest), fused=True))
        return made


@hookimpl
def register_optimizers(register):
    """Register the optimizer `muon`."""
    register(Muon)
