"""Chooses the next token of each sample from the model's logits.

Dimensions: B samples of the batch, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alignkit.sampler import Sampling


def choose(
    logits: Tensor, uniform: Tensor, settings: Sampling, never: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return one token id per row and its log-probability under softmax(logits), both (B,).

    logits: (B, V). uniform: (B,), in [0, 1). never: (E,), ids that are not chosen. The token is the one at
    which the cumulative distribution of softmax(logits / temperature), cut by the settings' top_k, top_p and
    min_p in this order, first exceeds `uniform`. Tokens as likely as the least likely token that is kept are
    kept too. Temperature 0 takes the most likely token. The log-probability is fp32, at temperature 1 and
    without cuts.
    """
    logits = logits.float()
    plain = settings.temperature == 1 and never is None
    normalizer = None if plain else logits.logsumexp(-1, keepdim=True)  # (B, 1)
    if never is not None:
        logits = logits.index_fill(-1, never, -math.inf)
    if settings.temperature == 0:
        chosen = logits.argmax(-1, keepdim=True)
    else:
        peak = logits.amax(-1, keepdim=True)
        # (B, V): probabilities up to a factor; the largest is 1. They are changed in place where possible,
        # because fresh memory of this size costs more than the arithmetic.
        weights = (logits - peak).div_(settings.temperature).exp_()
        if normalizer is None:  # their sum is the softmax's own normalizer
            normalizer = weights.sum(-1, keepdim=True).log_() + peak
        chosen = _invert(_cut(weights, logits, settings), uniform)
    assert normalizer is not None
    return chosen[:, 0], (logits.gather(-1, chosen) - normalizer)[:, 0]


def _cut(weights: Tensor, logits: Tensor, settings: Sampling) -> Tensor:
    """Set `weights` (B, V) to 0, in place, where top_k, top_p or min_p leaves a token out; return them."""
    if 0 < settings.top_k < weights.shape[-1]:
        # Compare logits: different logits may have become equal weights by rounding.
        least = logits.topk(settings.top_k, dim=-1, sorted=True).values[:, -1:]
        weights.masked_fill_(logits < least, 0.0)
    if settings.top_p < 1:
        _nucleus(weights, settings.top_p)
    if settings.min_p > 0:
        weights.masked_fill_(weights < settings.min_p, 0.0)  # the largest weight is 1
    return weights


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """Return the token (B, 1) at which the cumulative weights exceed the share `uniform` (B,) of their total.

    The cumulative weights overwrite `weights` (B, V).
    """
    cumulative = weights.cumsum_(-1)
    total = cumulative[:, -1:]
    # Rounding must not bring the target to the total, so that the token found has a probability above 0.
    target = torch.minimum(uniform[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target, right=True)


def _nucleus(weights: Tensor, top_p: float) -> None:
    """Set `weights` (B, V) to 0 outside the nucleus.

    The nucleus is the fewest most likely tokens whose probabilities add up to top_p. Tokens as likely as its
    least likely token are kept too.
    """
    total = weights.sum(-1, keepdim=True)  # (B, 1)
    # Sorting all V tokens would be slow. Tokens below this share have less than 1 - top_p together, so they
    # are not in the nucleus.
    rows, tokens = (weights >= total * ((1 - top_p) / weights.shape[-1])).nonzero(as_tuple=True)
    count = torch.bincount(rows, minlength=len(weights))
    place = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[rows]
    candidates = weights.new_zeros(len(weights), int(count.max()))
    candidates[rows, place] = weights[rows, tokens]
    candidates = candidates.sort(-1, descending=True).values
    likelier = candidates.cumsum(-1) - candidates  # the sum of the more likely tokens' weights
    least = candidates.masked_fill(likelier >= total * top_p, math.inf).amin(-1, keepdim=True)
    weights.masked_fill_(weights < least, 0.0)
