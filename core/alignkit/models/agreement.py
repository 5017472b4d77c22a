"""Compares the engine's log-probabilities with those of a model's own code, when the base is loaded.

The outcome decides whether rows may be prefix trees, and whether the base can be used at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from alignkit.data.rows import Rows, flat_rows, tree_rows
from alignkit.errors import UserError, first_line
from alignkit.example import Group
from alignkit.models.attention import NAME as TREE_ATTENTION
from alignkit.models.forward import autocast, hidden_states
from alignkit.models.logps import output_head, token_logps

TOLERANCE = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 0.03, torch.int8: 0.03}
"""The share by which log-probabilities may differ: the same sums in another order are rounded otherwise."""

PROMPT = 4
"""Tokens of the prompt that a new base is tried on: enough for each later token to look back at several."""

COMPLETION = 4
"""Tokens of each of the two completions that a new base is tried on."""


def tolerance_of(dtype: torch.dtype, *, int8: bool) -> float:
    """Return the share by which log-probabilities may differ, for what the base is computed in."""
    return TOLERANCE[torch.int8 if int8 else dtype]


def why_flat(model: PreTrainedModel) -> str | None:
    """Return why the rows of this architecture cannot be prefix trees; None means that they may be."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or []) - {"full_attention"}
    if kinds:
        return f"it has {', '.join(sorted(kinds))} layers"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return "its attention has a sliding window"
    if getattr(config, "attn_logit_softcapping", None):
        return "its attention caps logits"
    if not model._supports_sdpa:
        return "its attention is code of its own"
    return None


def attend_by_trees(model: PreTrainedModel, dtype: torch.dtype, tolerance: float) -> str | None:
    """Switch the model to attention by trees; return None, or why its own attention was switched on again.

    That happens where the model's code fails on trees, or where its log-probabilities change.
    """
    own = model.config._attn_implementation or "eager"
    model.set_attn_implementation(TREE_ATTENTION)
    try:
        found = deviation(model, tree_rows, dtype)
    except torch.OutOfMemoryError:
        raise
    # A model's code may raise anything when it meets a mask and an argument that it does not expect.
    except Exception as error:
        why = f"its code fails on them ({type(error).__name__}: {first_line(error)[:100]})"
    else:
        if found <= tolerance:
            return None
        why = f"its log-probabilities differ on them by {found:.2%}"
    model.set_attn_implementation(own)
    return why


def require_agreement(model: PreTrainedModel, dtype: torch.dtype, tolerance: float) -> None:
    """Raise UserError where the engine does not reproduce the model's log-probabilities on flat rows."""
    try:
        found = deviation(model, flat_rows, dtype)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise UserError(
            f"this base ({model.config.model_type}) cannot be run ({type(error).__name__}: "
            f"{first_line(error)})",
            where="model.base",
            hint="A causal language model with one stack of layers and one output head is expected; choose "
            "another base.",
        ) from error
    if not found <= tolerance:
        raise UserError(
            f"the log-probabilities computed for this base ({model.config.model_type}, "
            f"{str(dtype).removeprefix('torch.')}) differ from those of its own code by {found:.2%}, "
            f"at most {tolerance:.2%} is expected",
            where="model.base",
            hint="Its output head does something that is not known here, or its numbers overflow: try "
            "`model.dtype: float32`, or choose another base.",
        )


@torch.no_grad()
def deviation(model: PreTrainedModel, layout: Callable[[Sequence[Group]], Rows], dtype: torch.dtype) -> float:
    """Return by what share log-probabilities from rows laid out by `layout` differ from the model's own.

    The model's own are those of a plain call. With two completions of one prompt, the result is the sum of
    the absolute differences over the sum of the absolute log-probabilities. It is NaN where either is not
    finite.
    """
    embeddings: Any = model.get_input_embeddings()
    ids = torch.randperm(embeddings.num_embeddings, generator=torch.Generator().manual_seed(0)).tolist()
    first, second = PROMPT + COMPLETION, PROMPT + 2 * COMPLETION
    group = Group(ids[:PROMPT], (ids[PROMPT:first], ids[first:second]))
    rows = layout([group]).to(model.device)
    whole = torch.tensor([group.prompt + completion for completion in group.completions], device=model.device)
    targets = rows.batch.tokens.flatten()[rows.slot]  # (M,)
    with autocast(model.device, dtype):
        hidden = hidden_states(model, rows).index_select(0, rows.predicting)  # (M, H)
        logits = model(input_ids=whole, use_cache=False).logits[:, PROMPT - 1 : -1].float()  # (N, T, V)
    found, _ = token_logps(hidden, output_head(model), targets)
    expected = logits.log_softmax(-1).flatten(0, 1).gather(1, targets[:, None]).squeeze(1)
    return ((found - expected).abs().sum() / expected.abs().sum()).item()
