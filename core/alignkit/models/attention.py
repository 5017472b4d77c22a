"""Attends within packed prefix trees; transformers knows this attention under the name `alignkit_tree`."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from alignkit.data.rows import Tree

NAME = "alignkit_tree"
"""The name by which a model's configuration asks for this attention."""


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    trees: tuple[Tree, ...] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within each tree of a row; without `trees` (sampling, flat rows) do as transformers does.

    A prompt and its first completion are one causal sequence. Each further completion looks at the prompt and
    at itself, so the cost grows with the number of completions, not with its square.

    query is (1, heads, L, D), key and value are (1, key-value heads, L, D); returns (1, L, heads, D). Raises
    ValueError where the model makes a mask of its own, because it would not fit the trees.
    """
    if trees is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    if attention_mask is not None and attention_mask.numel() > 1:
        raise ValueError("the model masks its attention itself")
    attend = partial(
        scaled_dot_product_attention,
        dropout_p=dropout,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    # Split, not sliced: the backward pass of a slice fills zeros for the whole row, once for every slice.
    lengths = [
        length
        for tree in trees
        for length in (tree.trunk - tree.start, *(end - start for start, end, _ in tree.branches))
    ]
    parts = zip(*(x.split(lengths, dim=2) for x in (query, key, value)), strict=True)
    outputs = []
    for tree in trees:
        query_part, *trunk = next(parts)
        outputs.append(attend(query_part, *trunk, is_causal=True))
        prompt = [x[:, :, : tree.prompt - tree.start] for x in trunk]
        for _, _, mask in tree.branches:
            query_part, *own = next(parts)
            seen = [torch.cat(pair, dim=2) for pair in zip(prompt, own, strict=True)]
            outputs.append(attend(query_part, *seen, attn_mask=mask.to(query.dtype)))
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, tree_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
