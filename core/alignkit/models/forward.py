"""The engine's forward pass over rows, and the proof, when a base is loaded, that it is the model's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from alignkit.data.rows import Rows
from alignkit.example import Group
from alignkit.models.logps import output_head, token_logps

PROMPT, COMPLETION = 4, 4  # tokens of the example that a new base is tried on


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """The context in which a base of this dtype computes: its adapters are fp32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def hidden_states(model: Any, rows: Rows) -> Tensor:
    """Last hidden states of all row tokens, (R·L, H)."""
    options: dict[str, Any] = {}
    if rows.trees is not None:
        # A ready 4-d mask keeps transformers from building one; the attention reads `trees`.
        options = {"trees": rows.trees, "attention_mask": rows.input_ids.new_zeros(1, 1, 1, 1)}
    output = model.base_model(
        input_ids=rows.input_ids, position_ids=rows.position_ids, use_cache=False, **options
    )
    return output.last_hidden_state.flatten(0, 1)


@torch.no_grad()
def deviation(model: PreTrainedModel, layout: Callable[[Sequence[Group]], Rows], dtype: torch.dtype) -> float:
    """By what share log-probabilities from rows laid out by `layout` differ from those of a plain call of the
    model: the differences' sum over two completions of one prompt, of that of the log-probabilities. NaN
    where either is not finite."""
    embeddings: Any = model.get_input_embeddings()
    ids = torch.randperm(embeddings.num_embeddings, generator=torch.Generator().manual_seed(0)).tolist()
    first, second = PROMPT + COMPLETION, PROMPT + 2 * COMPLETION
    group = Group(ids[:PROMPT], (ids[PROMPT:first], ids[first:second]))
    rows = layout([group]).to(model.device)
    whole = torch.tensor([group.prompt + completion for completion in group.completions], device=model.device)
    targets = rows.batch.tokens.flatten()[rows.slot]
    with autocast(model.device, dtype):
        hidden = hidden_states(model, rows).index_select(0, rows.predicting)
        logits = model(input_ids=whole, use_cache=False).logits[:, PROMPT - 1 : -1].float()
    found, _ = token_logps(hidden, output_head(model), targets)
    expected = logits.log_softmax(-1).flatten(0, 1).gather(1, targets[:, None]).squeeze(1)
    return ((found - expected).abs().sum() / expected.abs().sum()).item()
