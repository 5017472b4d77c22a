"""A key-value cache that appends in place: transformers' own copies the whole past at every token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class GrowingLayer(DynamicLayer):
    """One layer's keys and values, (B, heads, L, head size), views of buffers with `room` columns for tokens to come."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.buffers: list[Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append columns and return all keys and values."""
        if not self.is_initialized or key_states.shape[-2] > 1:
            return super().update(key_states, value_states, *args, **kwargs)  # a prompt
        length = self.get_seq_length()
        if self.buffers is None or self.buffers[0].shape[-2] == length:
            self.buffers = [_with_room(past, self.room) for past in (self.keys, self.values)]
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, length : length + 1] = new
        self._view(length + 1)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each sequence `repeats` times, side by side."""
        self.buffers = None
        super().batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the sequences `indices` (B,)."""
        if self.buffers is None:
            return super().batch_select_indices(indices)
        length = self.get_seq_length()
        self.buffers = [buffer[indices] for buffer in self.buffers]
        return self._view(length)

    def _view(self, length: int) -> None:
        assert self.buffers is not None
        self.keys, self.values = (buffer[:, :, :length] for buffer in self.buffers)


def growing_cache(config: Any, room: int) -> DynamicCache:
    """An empty cache for a model of this config; layers that attend to everything grow in place."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def is_plain(cache: DynamicCache) -> bool:
    """Whether every layer attends to everything: no sliding window, no recurrent state."""
    return all(type(layer) is GrowingLayer for layer in cache.layers)


def _with_room(past: Tensor, room: int) -> Tensor:
    batch, heads, length, size = past.shape
    buffer = torch.empty(batch, heads, length + room, size, dtype=past.dtype, device=past.device)
    buffer[:, :, :length] = past
    return buffer
