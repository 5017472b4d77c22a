"""Runs a model over rows, prefix trees or flat ones, as far as its last hidden states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from alignkit.data.rows import Rows


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return the context in which a base of this dtype computes, as its adapters are fp32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def hidden_states(model: Any, rows: Rows) -> Tensor:
    """Return the last hidden states of all row tokens, (R·L, H)."""
    options: dict[str, Any] = {}
    if rows.trees is not None:
        # A ready 4-d mask keeps transformers from building one; the attention reads `trees`.
        options = {"trees": rows.trees, "attention_mask": rows.input_ids.new_zeros(1, 1, 1, 1)}
    output = model.base_model(
        input_ids=rows.input_ids, position_ids=rows.position_ids, use_cache=False, **options
    )
    return output.last_hidden_state.flatten(0, 1)
