"""Holds one of an adapter's two matrices where only a part of it is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class PartlyFrozen(nn.Module):
    """A linear layer without bias, whose weight is a trained part followed by a frozen one.

    It stands where PEFT has a linear layer, and is saved and loaded as one: under `weight`, whole. trained:
    the parameter; None means that all of the weight is frozen. dim: along which the parts are joined, 0 for
    the rows of A, 1 for the columns of B.
    """

    bias = None

    def __init__(self, trained: Tensor | None, frozen: Tensor, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.trained: nn.Parameter | None
        self.register_parameter("trained", None if trained is None else nn.Parameter(trained.clone()))
        self.frozen: Tensor
        self.register_buffer("frozen", frozen.clone())

    @property
    def weight(self) -> Tensor:
        """Return the whole weight, (D_out, D_in), with a gradient to its trained part."""
        return self.frozen if self.trained is None else torch.cat((self.trained, self.frozen), self.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return x times the weight: (…, D_in) to (…, D_out)."""
        return functional.linear(x, self.weight)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight if keep_vars else self.weight.detach()

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        key = f"{prefix}weight"
        if key not in state_dict:
            missing_keys.append(key)
            return
        weight = state_dict[key]
        if weight.shape != self.weight.shape:
            error_msgs.append(f"size mismatch for {key}: {weight.shape} in place of {self.weight.shape}")
            return
        count = 0 if self.trained is None else self.trained.shape[self.dim]
        with torch.no_grad():
            if self.trained is not None:
                self.trained.copy_(weight.narrow(self.dim, 0, count))
            self.frozen.copy_(weight.narrow(self.dim, count, weight.shape[self.dim] - count))
