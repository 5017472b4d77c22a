"""Runs a model over a batch of sequences: the prompts at once, then token by token with a key-value cache.

Dimensions: G prompts, B sequences of the batch, L columns of the cache, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alignkit.sampling.cache import growing_cache, is_plain


class Context:
    """What the model has read of each sequence, and what it expects next.

    mask (B, L): 0 at the cache's columns that are padding. logits (B, V): of each sequence's next token.
    """

    def __init__(self, model: nn.Module, prompts: list[list[int]], *, pad: int, room: int) -> None:
        """Read the prompts; the sequences are G at first.

        A beginning that all prompts share is read once. It stands first, then padding, then each prompt's own
        tokens. room: the number of tokens that may follow a prompt.
        """
        self.model = model
        self.device = next(model.parameters()).device
        self.cache = growing_cache(model.config, max(map(len, prompts)) + room)
        # Sliding windows count columns, padding included: there the padding must come before everything.
        shared = _common_beginning(prompts) if len(prompts) > 1 and is_plain(self.cache) else 0
        if shared:
            beginning = torch.tensor([prompts[0][:shared]], device=self.device)
            self.mask = torch.ones_like(beginning)
            self._read(beginning)
            self.cache.batch_repeat_interleave(len(prompts))
        columns = max(map(len, prompts))
        padding = [columns - len(prompt) for prompt in prompts]
        own = [[pad] * count + prompt[shared:] for count, prompt in zip(padding, prompts, strict=True)]
        self.mask = torch.ones(len(prompts), columns, dtype=torch.long, device=self.device)
        for row, count in enumerate(padding):
            self.mask[row, shared : shared + count] = 0
        self.logits = self._read(torch.tensor(own, device=self.device))

    def repeat(self, times: int) -> None:
        """Let each sequence stand `times` times, side by side."""
        self.cache.batch_repeat_interleave(times)
        self.mask = self.mask.repeat_interleave(times, 0)
        self.logits = self.logits.repeat_interleave(times, 0)

    def append(self, tokens: Tensor, *, keep: Tensor | None = None) -> None:
        """Read one more token of each sequence.

        keep (B,): the places of the sequences that stay; the others leave the batch first. None keeps all.
        tokens (B,): the tokens of those that stay.
        """
        if keep is not None:
            self.cache.batch_select_indices(keep)
            self.mask = self.mask[keep]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], 1)
        self.logits = self._read(tokens[:, None])

    def _read(self, tokens: Tensor) -> Tensor:
        """Read `tokens` (B, L'), the newest columns of the mask; return the logits (B, V) after them."""
        positions = (self.mask.cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        output = self.model(
            input_ids=tokens,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]


def _common_beginning(prompts: list[list[int]]) -> int:
    """Return the number of tokens that all prompts begin with.

    At least one token of the shortest prompt is left out, because its logits are needed.
    """
    first, last = min(prompts), max(prompts)  # in lexical order, these two differ the soonest
    most = min(map(len, prompts)) - 1
    return next((place for place in range(most) if first[place] != last[place]), most)
