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
            log_p = linear(hidden[part], weight).float()
            log_p = torch.log_softmax(log_p, dim=-1)
            logps[part] = log_p.gather(1, target[:, None]).squeeze(1)
            if not (differentiate or entropy):
                continue
            p = log_p.exp()
            if entropy:
                entropies[part] = -(p * log_p).sum(-1)
            if direction is not None:
                direction[part] = weight[target] - p.to(weight.dtype) @ weight
            if entropy_direction is not None:
                slope = p * (log_p + entropies[part, None])
                entropy_direction[part] = -(slope.to(weight.dtype) @ weight)
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
