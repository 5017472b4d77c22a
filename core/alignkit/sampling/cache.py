"""A key-value cache that appends in place: transformers' own copies the whole past at every token."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class GrowingLayer(DynamicLayer):
    """One layer's keys and values, (B, heads, L, head size): views of buffers that hold `columns` columns."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns
        self.buffers: tuple[Tensor, Tensor]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append columns, and return all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._allocate(key_states, value_states, len(key_states), 0)
        length = self.keys.shape[-2]
        self._view(length + key_states.shape[-2])
        self.keys[:, :, length:] = key_states
        self.values[:, :, length:] = value_states
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each sequence `repeats` times, side by side."""
        keys, values = self.keys, self.values
        self._allocate(keys, values, len(keys) * repeats, keys.shape[-2])
        self.keys.unflatten(0, (-1, repeats)).copy_(keys[:, None])
        self.values.unflatten(0, (-1, repeats)).copy_(values[:, None])

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the sequences `indices` (B',), moved to the front of the same buffers."""
        keys, values = self.keys[indices], self.values[indices]
        self.buffers = self.buffers[0][: len(indices)], self.buffers[1][: len(indices)]
        self._view(keys.shape[-2])
        self.keys.copy_(keys)
        self.values.copy_(values)

    def _allocate(self, keys: Tensor, values: Tensor, batch: int, length: int) -> None:
        """Empty buffers for `batch` sequences, of the heads and sizes of `keys` and `values`."""
        self.buffers = (
            keys.new_empty(batch, keys.shape[1], self.columns, keys.shape[3]),
            values.new_empty(batch, values.shape[1], self.columns, values.shape[3]),
        )
        self._view(length)

    def _view(self, length: int) -> None:
        self.keys, self.values = self.buffers[0][:, :, :length], self.buffers[1][:, :, :length]


def growing_cache(config: Any, columns: int) -> DynamicCache:
    """An empty cache for a model of this config; layers that attend to everything get room for `columns` columns."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer(columns) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def is_plain(cache: DynamicCache) -> bool:
    """Whether every layer attends to everything: no sliding window, no recurrent state."""
    return all(type(layer) is GrowingLayer for layer in cache.layers)
