"""The growing cache holds what transformers' own cache holds, in buffers that stay where they are."""

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, MistralConfig

from alignkit.sampling.cache import GrowingLayer, growing_cache, is_plain

SIZES = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32}
CONFIG = LlamaConfig(**SIZES)
ROOM = 9


def random_states(batch, columns, seed):
    """Keys and values, (B, heads, L, head size)."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 2, columns, 8, generator=generator) for _ in range(2)]


@pytest.fixture
def caches():
    """The growing cache, and transformers' own after the same calls."""
    return growing_cache(CONFIG, ROOM), DynamicCache(config=CONFIG)


def append(caches, batch, columns, seed):
    for layer in range(SIZES["num_hidden_layers"]):
        states = random_states(batch, columns, seed + layer)
        for found, expected in zip(*[cache.update(*states, layer) for cache in caches], strict=True):
            assert torch.equal(found, expected)


def assert_same(caches):
    for found, expected in zip(*[cache.layers for cache in caches], strict=True):
        assert torch.equal(found.keys, expected.keys)
        assert torch.equal(found.values, expected.values)


def test_columns_are_appended_as_in_transformers_own_cache(caches):
    append(caches, 3, 4, seed=0)
    append(caches, 3, 1, seed=2)
    append(caches, 3, 2, seed=4)

    assert_same(caches)
    assert [cache.get_seq_length() for cache in caches] == [7, 7]


def test_sequences_are_repeated_side_by_side_and_go_on(caches):
    append(caches, 2, 4, seed=0)
    for cache in caches:
        cache.batch_repeat_interleave(3)
    assert_same(caches)

    append(caches, 6, 1, seed=2)
    assert_same(caches)


def test_sequences_leave_and_the_others_go_on(caches):
    append(caches, 5, 4, seed=0)
    for cache in caches:
        cache.batch_select_indices(torch.tensor([0, 3, 4]))
    assert_same(caches)

    append(caches, 3, 1, seed=2)
    assert_same(caches)


def test_appending_and_leaving_take_no_new_buffers():
    cache = growing_cache(CONFIG, ROOM)
    cache.update(*random_states(5, 4, seed=0), 0)
    layer = cache.layers[0]
    assert isinstance(layer, GrowingLayer)
    places = [buffer.data_ptr() for buffer in layer.buffers]

    cache.update(*random_states(5, 5, seed=1), 0)
    layer.batch_select_indices(torch.tensor([1, 2]))

    assert [buffer.data_ptr() for buffer in layer.buffers] == places
    assert [buffer.shape for buffer in layer.buffers] == [(2, 2, ROOM, 8)] * 2


def test_a_sliding_window_keeps_transformers_own_layers():
    plain, sliding = (
        growing_cache(CONFIG, ROOM),
        growing_cache(MistralConfig(**SIZES, sliding_window=4), ROOM),
    )

    assert is_plain(plain)
    assert not is_plain(sliding)
    assert not any(isinstance(layer, GrowingLayer) for layer in sliding.layers)
