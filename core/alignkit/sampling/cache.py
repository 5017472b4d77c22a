"""Defines a key-value cache that appends in place, as transformers' own copies the whole past at every token.

Dimensions: B sequences of the batch, L columns of the cache.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class GrowingLayer(DynamicLayer):
    """One layer's keys and values, (B, heads, L, head size), in buffers with room for `columns` columns."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns
        self.buffers: tuple[Tensor, ...] = ()

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append columns; return all keys and values."""
        length = self.get_seq_length()
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.buffers = tuple(self._room(len(new), new) for new in (key_states, value_states))
        keys, values = self._view(length + key_states.shape[-2])
        keys[:, :, length:] = key_states
        values[:, :, length:] = value_states
        return keys, values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each sequence `repeats` times, side by side."""
        length, old = self.get_seq_length(), self.buffers
        self.buffers = tuple(self._room(len(past) * repeats, past) for past in old)
        for new, past in zip(self._view(length), old, strict=True):
            new.unflatten(0, (-1, repeats)).copy_(past[:, None, :, :length])

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the sequences at `indices` (B',) and move them to the front of the same buffers."""
        length = self.get_seq_length()
        kept = [past[indices] for past in self._view(length)]
        self.buffers = tuple(buffer[: len(indices)] for buffer in self.buffers)
        for new, past in zip(self._view(length), kept, strict=True):
            new.copy_(past)

    def _room(self, batch: int, like: Tensor) -> Tensor:
        """Make an empty buffer for `batch` sequences, otherwise of the shape and dtype of `like`."""
        return like.new_empty(batch, like.shape[1], self.columns, like.shape[3])

    def _view(self, length: int) -> tuple[Tensor, Tensor]:
        """Make the first `length` columns the layer's keys and values, and return them."""
        keys, values = (buffer[:, :, :length] for buffer in self.buffers)
        self.keys, self.values = keys, values
        return keys, values


def growing_cache(config: Any, columns: int) -> DynamicCache:
    """Return an empty cache for a model with this config.

    Layers that attend to everything get room for `columns` columns.
    """
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer(columns) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def is_plain(cache: DynamicCache) -> bool:
    """Return whether every layer attends to everything: no sliding window, no recurrent state."""
    return all(type(layer) is GrowingLayer for layer in cache.layers)
