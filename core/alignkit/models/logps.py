"""Log-probabilities of given tokens from hidden states, without ever holding the logits of more than a chunk.

For one token, d log p(y) / d hidden = W[y] − Σ_v p_v W[v]. As losses reach the hidden states through log-probabilities
alone, the forward pass can compute this direction while it holds the chunk's probabilities; the backward pass then only
scales it by the incoming gradient, and nothing is computed twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 512 * 2**20}


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, entropy: bool) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        differentiate = ctx.needs_input_grad[0]
        logps = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        entropies = torch.zeros_like(logps) if entropy else logps.new_empty(0)
        direction = torch.empty_like(hidden) if differentiate else None
        entropy_direction = torch.empty_like(hidden) if differentiate and entropy else None
        rows = max(1, CHUNK_BYTES.get(hidden.device.type, 2**28) // (4 * weight.shape[0]))
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            target = targets[part]
            logits = linear(hidden[part], weight).float()  # (rows, V); from here on in place, as passes over it are what costs
            highest = logits.amax(-1, keepdim=True)
            chosen = logits.gather(1, target[:, None])
            shifted = logits.sub_(highest)
            e = shifted.exp() if entropy else shifted.exp_()
            z = e.sum(-1, keepdim=True)
            logps[part] = (chosen - highest - z.log()).squeeze(1)
            if direction is not None:
                direction[part] = weight[target] - (e.to(weight.dtype) @ weight) / z.to(weight.dtype)  # W[y] − Σ_v p_v W[v]
            if entropy:
                surprise = e.mul_(shifted)  # (rows, V): p_v·(log p_v + log z)·z
                entropies[part] = (z.log() - surprise.sum(-1, keepdim=True) / z).squeeze(1)
                if entropy_direction is not None and direction is not None:
                    level = (entropies[part, None] - z.log()).to(weight.dtype)
                    slope = (surprise.to(weight.dtype) @ weight) / z.to(weight.dtype)
                    entropy_direction[part] = -(slope + level * (weight[target] - direction[part]))
        ctx.save_for_backward(direction, entropy_direction)
        return logps, entropies

    @staticmethod
    def backward(ctx: Any, logps_grad: Tensor, entropy_grad: Tensor) -> tuple[Tensor | None, None, None, None]:  # type: ignore[override]
        direction, entropy_direction = ctx.saved_tensors
        grad = direction * logps_grad[:, None].to(direction.dtype)
        if entropy_direction is not None:
            grad = grad + entropy_direction * entropy_grad[:, None].to(grad.dtype)
        return grad, None, None, None


def token_logps(hidden: Tensor, weight: Tensor, targets: Tensor, *, entropy: bool = False) -> tuple[Tensor, Tensor]:
    """log softmax(hidden·weightᵀ)[targets] (M,) and, if asked, the distributions' entropy (M,), both fp32.

    hidden (M, H), weight (V, H) frozen, targets (M,). Gradients flow to `hidden` only.
    """
    return _TokenLogps.apply(hidden, weight, targets, entropy)  # type: ignore[return-value]
