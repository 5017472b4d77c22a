"""Computes log-probabilities of given tokens from hidden states, and never holds the logits of all tokens.

For one token, d log p(y) / d hidden = W[y] − Σ_v p_v W[v]. Losses reach the hidden states through
log-probabilities alone. So the forward pass computes this direction while it holds the probabilities of a
chunk of tokens; the backward pass only scales it by the incoming gradient, and nothing is computed twice.
Where logits are capped, z = c·tanh(u/c), each W[v] counts times its slope dz_v/du_v = 1 − (z_v/c)².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel

CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 512 * 2**20}
"""Bytes of a chunk's logits, by device: enough to use the whole processor, little beside the base."""

OTHER_CHUNK_BYTES = 2**28
"""Bytes of a chunk's logits on any other device."""

MULTIPLIERS = ("logit_scale", "lm_head_multiplier", "output_multiplier")
"""Where configurations keep a factor of the logits; each architecture has its own name for it."""

DIVISORS = ("logits_scaling",)
"""Where configurations keep a divisor of the logits."""

CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
"""Where configurations keep the cap of the logits."""

MULTIPLIED_BY_DIVISOR = ("hyperclovax",)
"""Architectures that call a factor what the others call a divisor."""


@dataclass(frozen=True)
class Head:
    """The way from a hidden state h to logits: u = scale·(W·h + bias), then cap·tanh(u/cap) with a cap.

    weight (V, H), bias (V,).
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None


def output_head(model: PreTrainedModel) -> Head:
    """Return the model's output head, as its output layer and its configuration describe it."""
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


def token_logps(
    hidden: Tensor, head: Head, targets: Tensor, *, entropy: bool = False
) -> tuple[Tensor, Tensor]:
    """Return log softmax(logits)[targets], (M,), and the entropy of the distributions, (M,), both fp32.

    The entropy is empty unless it is asked for. hidden (M, H), targets (M,). Gradients flow to `hidden` only,
    because the head is frozen.
    """
    hidden, bias = hidden.to(head.weight.dtype), head.bias
    if head.scale != 1.0:
        hidden, bias = hidden * head.scale, None if bias is None else bias * head.scale
    return _TokenLogps.apply(hidden, head.weight, bias, head.cap, targets, entropy)  # type: ignore[return-value]


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
        rows = max(1, CHUNK_BYTES.get(hidden.device.type, OTHER_CHUNK_BYTES) // (4 * weight.shape[0]))
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            chunk = _Chunk(hidden[part], weight, bias, cap, targets[part], keep_logits=entropy)
            logps[part] = chunk.logps
            mean = chunk.mean_weight() if differentiate else None
            if direction is not None and mean is not None:
                direction[part] = chunk.target_weight() - mean
            if entropy:
                surprise = chunk.surprise()
                entropies[part] = chunk.entropy(surprise)
                if entropy_direction is not None and mean is not None:
                    entropy_direction[part] = chunk.entropy_direction(surprise, entropies[part], mean)
                del surprise
            del chunk  # so that two chunks' logits never lie beside one another
        ctx.save_for_backward(direction, entropy_direction)
        return logps, entropies

    @staticmethod
    def backward(ctx: Any, logps_grad: Tensor, entropy_grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        direction, entropy_direction = ctx.saved_tensors
        grad = direction * logps_grad[:, None].to(direction.dtype)
        if entropy_direction is not None:
            grad = grad + entropy_direction * entropy_grad[:, None].to(grad.dtype)
        return grad, None, None, None, None, None


class _Chunk:
    """The distributions of a chunk of tokens (C of them), p_v = e_v / z, and what is derived from them.

    All of it is computed in place where possible, because passes over (C, V) are what costs. So `mean_weight`
    must be called before `surprise`, which overwrites e.
    """

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        cap: float | None,
        targets: Tensor,
        *,
        keep_logits: bool,
    ) -> None:
        self.weight, self.targets = weight, targets
        logits = linear(hidden, weight, bias).float()  # (C, V)
        self.slope = _cap(logits, cap) if cap else None  # (C, V)
        highest = logits.amax(-1, keepdim=True)
        chosen = logits.gather(1, targets[:, None])
        self.shifted = logits.sub_(highest)  # overwritten by e unless `keep_logits`
        self.e = self.shifted.exp() if keep_logits else self.shifted.exp_()  # (C, V)
        self.z = self.e.sum(-1, keepdim=True)  # (C, 1)
        self.logps = (chosen - highest - self.z.log()).squeeze(1)  # (C,)

    def target_weight(self) -> Tensor:
        """Return W[y], times its slope where logits are capped, (C, H)."""
        own = self.weight[self.targets]
        if self.slope is None:
            return own
        return own * self.slope.gather(1, self.targets[:, None]).to(own.dtype)

    def mean_weight(self) -> Tensor:
        """Return Σ_v p_v W[v], (C, H)."""
        return self._weighted(self.e) / self.z.to(self.weight.dtype)

    def surprise(self) -> Tensor:
        """Return z·p_v·(log p_v + log z), (C, V), in the place of e."""
        return self.e.mul_(self.shifted)

    def entropy(self, surprise: Tensor) -> Tensor:
        """Return −Σ_v p_v log p_v, (C,)."""
        return (self.z.log() - surprise.sum(-1, keepdim=True) / self.z).squeeze(1)

    def entropy_direction(self, surprise: Tensor, entropy: Tensor, mean: Tensor) -> Tensor:
        """Return d entropy / d hidden, (C, H). mean: what `mean_weight` gave."""
        dtype = self.weight.dtype
        level = (entropy[:, None] - self.z.log()).to(dtype)
        return -(self._weighted(surprise) / self.z.to(dtype) + level * mean)

    def _weighted(self, values: Tensor) -> Tensor:
        """Return Σ_v values_v·slope_v·W[v], (C, H)."""
        return (values if self.slope is None else values * self.slope).to(self.weight.dtype) @ self.weight


def _cap(logits: Tensor, cap: float) -> Tensor:
    """Cap the logits in place, and return the slope 1 − (z/c)² of each."""
    squashed = logits.div_(cap).tanh_()
    slope = 1 - squashed.square()
    logits.mul_(cap)
    return slope
