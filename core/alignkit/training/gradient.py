"""Adds up the gradient of a whole optimizer step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from alignkit.errors import UserError
from alignkit.objective import Loss


class StepGradient:
    """The gradient of one optimizer step: Σ over objectives of λ · Σ over its losses of factor · (∇S ÷ W).

    S is a loss's Σ weight·terms and W its Σ weight over all micro-batches, so the result does not depend on
    how the step is cut. `add` is called for each micro-batch, and `close_term` after the last of an
    objective. scale: multiplies every loss while it is differentiated, and is divided out again.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], scale: float = 1.0) -> None:
        self.parameters, self.scale = parameters, scale
        self.total: dict[str, Tensor] = {}
        self.sums: list[dict[str, Tensor]] = []
        self.weights: list[float] = []
        self.factors: list[float] = []
        for parameter in parameters.values():
            parameter.grad = None

    def add(self, losses: Sequence[Loss], where: str | None = None) -> None:
        """Add the gradient of a micro-batch's losses. where: whose they are, for messages.

        Raises UserError where there are terms to learn from and none depends on what is trained.
        """
        totals = [loss.total() for loss in losses]
        if not self.weights:
            self.weights, self.sums = [0.0] * len(losses), [{} for _ in losses]
        if len(losses) != len(self.weights):
            raise UserError(
                f"`loss` returned {len(losses)} losses for one micro-batch, {len(self.weights)} for another",
                where=where,
                hint="Return the same losses for every batch; without terms, a loss adds nothing.",
            )
        self.factors = [loss.factor for loss in losses]
        if not any(total.requires_grad for total, _ in totals) and any(weight > 0 for _, weight in totals):
            raise _no_gradient(where)
        for place, (total, weight) in enumerate(totals):
            self.weights[place] += weight
            if len(totals) == 1:
                self._differentiate(total)
            elif total.requires_grad:
                self._keep_apart(place, total)

    def backward(self, signals: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Add the gradient that reaches the parameters through signals with these gradients."""
        self.weights, self.factors = [1.0], [1.0]
        torch.autograd.backward(list(signals), [gradient * self.scale for gradient in gradients])

    def close_term(self, factor: float) -> float:
        """Add the objective's gradient, times factor, to the step's; return its Σ weight.

        A loss without weight adds nothing.
        """
        apart = len(self.weights) > 1
        for place, weight in enumerate(self.weights):
            share = factor * self.factors[place] / weight / self.scale if weight > 0 else 0.0
            for name, parameter in self.parameters.items():
                gradient = self.sums[place].get(name) if apart else parameter.grad
                gradient = torch.zeros_like(parameter) if gradient is None else gradient
                self._add(name, gradient.mul_(share))
                parameter.grad = None
        counted = sum(self.weights)
        self.weights, self.sums, self.factors = [], [], []
        return counted

    def finish(self, max_norm: float) -> float:
        """Put the gradient into `.grad`, clipped to `max_norm`; return its norm before clipping."""
        for name, parameter in self.parameters.items():
            parameter.grad = self.total.get(name, torch.zeros_like(parameter))
        return float(nn.utils.clip_grad_norm_(self.parameters.values(), max_norm))

    def _add(self, name: str, gradient: Tensor) -> None:
        self.total[name] = self.total[name].add_(gradient) if name in self.total else gradient

    def _differentiate(self, total: Tensor) -> None:
        if total.requires_grad:
            (total * self.scale).backward()

    def _keep_apart(self, place: int, total: Tensor) -> None:
        """Add a loss's gradient to its own sum: its weight over the whole step is not known yet."""
        names, parameters = zip(*self.parameters.items(), strict=True)
        found = torch.autograd.grad(total * self.scale, parameters, retain_graph=True, allow_unused=True)
        sums = self.sums[place]
        for name, gradient in zip(names, found, strict=True):
            if gradient is not None:
                sums[name] = sums[name].add_(gradient) if name in sums else gradient


def signal_gradients(
    losses: Sequence[Loss], signals: Sequence[Tensor], where: str | None = None
) -> tuple[list[Tensor], float]:
    """Return the gradient of Σ factor · Σ weight·terms ÷ Σ weight for each signal, and all losses' Σ weight.

    where: whose the losses are, for messages. Raises UserError where the losses have terms and depend on none
    of the signals.
    """
    total, counted = signals[0].new_zeros(()), 0.0
    for loss in losses:
        summed, weight = loss.total()
        if weight > 0:
            total, counted = total + loss.factor * summed / weight, counted + weight
    if not total.requires_grad:
        if counted > 0:
            raise _no_gradient(where)
        return [torch.zeros_like(signal) for signal in signals], counted
    found = torch.autograd.grad(total, signals, allow_unused=True)
    gradients = [
        torch.zeros_like(signal) if gradient is None else gradient
        for signal, gradient in zip(signals, found, strict=True)
    ]
    return gradients, counted


def _no_gradient(where: str | None) -> UserError:
    return UserError(
        "the loss does not depend on what is trained: it has no gradient",
        where=where,
        hint="Use the signals of the trained roles in `loss`, and do not detach them.",
    )
