"""Adds up the gradient of a whole optimizer step."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StepGradient:
    """The gradient of one optimizer step: Σ over objectives of λ · (summed gradient ÷ summed weight).

    Micro-batches add the gradients of weighted sums to `.grad`. `close_term` divides them by the term's total
    weight over all micro-batches. So the result does not depend on how the step is cut into micro-batches.
    """

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        self.parameters = parameters
        self.total: dict[str, Tensor] = {}
        for parameter in parameters.values():
            parameter.grad = None

    def close_term(self, factor: float, weight: float) -> None:
        """Add what `.grad` holds, times factor ÷ weight, to the step's gradient.

        A term without weight adds nothing.
        """
        for name, parameter in self.parameters.items():
            gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            gradient = gradient.mul_(factor / weight if weight > 0 else 0.0)
            self.total[name] = self.total[name].add_(gradient) if name in self.total else gradient
            parameter.grad = None

    def finish(self, max_norm: float) -> float:
        """Put the gradient into `.grad`, clipped to `max_norm`; return its norm before clipping."""
        for name, parameter in self.parameters.items():
            parameter.grad = self.total[name]
        return float(nn.utils.clip_grad_norm_(self.parameters.values(), max_norm))
