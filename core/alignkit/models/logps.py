"""Log-probabilities of given tokens from hidden states, without ever holding the logits of more than a chunk.

For one token, d log p(y) / d hidden = W[y] − Σ_v p_v W[v]. As losses reach the hidden states through
log-probabilities alone, the forward pass can compute this direction while it holds the chunk's probabilities;
the backward pass then only scales it by the incoming gradient, and nothing is computed twice. Where logits
are capped, z = c·tanh(u/c), each W[v] counts times its slope dz_v/du_v = 1 − (z_v/c)².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel

CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 512 * 2**20}

# Where configurations keep what their models do to the logits, architecture by architecture.
MULTIPLIERS = ("logit_scale", "lm_head_multiplier", "output_multiplier")
DIVISORS = ("logits_scaling",)
CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
MULTIPLIED_BY_DIVISOR = ("hyperclovax",)  # it calls a factor what others call a divisor


@dataclass(frozen=True)
class Head:
    """From a hidden state h to logits: u = scale·(W·h + bias), then cap·tanh(u/cap) where there is a cap.
    weight (V, H), bias (V,).
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None


def output_head(model: PreTrainedModel) -> Head:
    """The model's output head, as its output layer and its configuration say."""
    layer: Any = model.get_output_embeddings()
    config: Any = model.config.get_text_config()
    scale = 1.0
    for name in MULTIPLIERS:
        scale *= _number(config, name) or 1.0
    for name in DIVISORS:
        divisor = _number(config, name) or 1.0
        scale *= divisor if config.model_type.startswith(MULTIPLIED_BY_DIVISOR) else 1 / divisor
    caps = (_number(config, name) for name in CAPS)
    return Head(layer.weight, getattr(layer, "bias", None), scale, next((cap for cap in caps if cap), None))


def _number(config: Any, name: str) -> float | None:
    value = getattr(config, name, None)
    return float(value) if isinstance(value, int | float) else None


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        cap: float | None,
        targets: Tensor,
        entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        differentiate = ctx.needs_input_grad[0]
        logps = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        entropies = torch.zeros_like(logps) if entropy else logps.new_empty(0)
        direction = torch.empty_like(hidden) if differentiate else None
        entropy_direction = torch.empty_like(hidden) if differentiate and entropy else None
        rows = max(1, CHUNK_BYTES.get(hidden.device.type, 2**28) // (4 * weight.shape[0]))
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            target = targets[part, None]
            # (rows, V); from here on in place, as passes over it are what costs
            logits = linear(hidden[part], weight, bias).float()
            slope = _cap(logits, cap) if cap else None  # (rows, V)
            highest = logits.amax(-1, keepdim=True)
            chosen = logits.gather(1, target)
            shifted = logits.sub_(highest)
            e = shifted.exp() if entropy else shifted.exp_()
            z = e.sum(-1, keepdim=True)
            logps[part] = (chosen - highest - z.log()).squeeze(1)
            mean = _times(e, slope, weight) / z.to(weight.dtype) if differentiate else None  # Σ_v p_v W[v]
            if direction is not None and mean is not None:
                own = weight[targets[part]]
                direction[part] = (
                    own if slope is None else own * slope.gather(1, target).to(own.dtype)
                ) - mean
            if entropy:
                surprise = e.mul_(shifted)  # (rows, V): p_v·(log p_v + log z)·z
                entropies[part] = (z.log() - surprise.sum(-1, keepdim=True) / z).squeeze(1)
                if entropy_direction is not None and mean is not None:
                    level = (entropies[part, None] - z.log()).to(weight.dtype)
                    entropy_direction[part] = -(
                        _times(surprise, slope, weight) / z.to(weight.dtype) + level * mean
                    )
        ctx.save_for_backward(direction, entropy_direction)
        return logps, entropies

    @staticmethod
    def backward(ctx: Any, logps_grad: Tensor, entropy_grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        direction, entropy_direction = ctx.saved_tensors
        grad = direction * logps_grad[:, None].to(direction.dtype)
        if entropy_direction is not None:
            grad = grad + entropy_direction * entropy_grad[:, None].to(grad.dtype)
        return grad, None, None, None, None, None


def _cap(logits: Tensor, cap: float) -> Tensor:
    """Cap the logits in place; returns the slope 1 − (z/c)² of each."""
    squashed = logits.div_(cap).tanh_()
    slope = 1 - squashed.square()
    logits.mul_(cap)
    return slope


def _times(values: Tensor, slope: Tensor | None, weight: Tensor) -> Tensor:
    """Σ_v values_v·slope_v·W[v], (rows, H)."""
    return (values if slope is None else values * slope).to(weight.dtype) @ weight


def token_logps(
    hidden: Tensor, head: Head, targets: Tensor, *, entropy: bool = False
) -> tuple[Tensor, Tensor]:
    """log softmax(logits)[targets] (M,) and, if asked, the distributions' entropy (M,), both fp32.

    hidden (M, H), head frozen, targets (M,). Gradients flow to `hidden` only.
    """
    hidden, bias = hidden.to(head.weight.dtype), head.bias
    if head.scale != 1.0:
        hidden, bias = hidden * head.scale, None if bias is None else bias * head.scale
    return _TokenLogps.apply(hidden, head.weight, bias, head.cap, targets, entropy)  # type: ignore[return-value]
