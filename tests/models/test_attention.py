"""Attention within trees is plain attention over each prompt with one of its completions."""

import pytest
import torch
from tiny_models import random_groups
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from alignkit.data.rows import tree_rows
from alignkit.models.attention import tree_attention

HEADS, KEY_HEADS, SIZE = 4, 2, 8


class Layer(torch.nn.Module):
    """What transformers' attention asks of a layer."""

    num_key_value_groups = HEADS // KEY_HEADS
    is_causal = True


def tensors(length):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, heads, length, SIZE, generator=generator) for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    ]


def test_each_completion_sees_its_prompt_and_itself(rng):
    groups = random_groups(rng)
    rows = tree_rows(groups)
    query, key, value = tensors(rows.input_ids.shape[1])
    found, _ = tree_attention(
        Layer(), query, key, value, None, trees=rows.trees, scaling=0.3
    )  # (1, L, heads, D)
    start = 0
    for group in groups:
        prompt = list(range(start, start + len(group.prompt)))
        end = prompt[-1] + 1
        for completion in group.completions:
            places = prompt + list(range(end, end + len(completion)))
            end += len(completion)
            alone = scaled_dot_product_attention(
                *(x[:, :, places] for x in (query, key, value)), is_causal=True, scale=0.3, enable_gqa=True
            )
            torch.testing.assert_close(found[:, places].transpose(1, 2), alone, atol=1e-6, rtol=1e-5)
        start = end


def test_without_trees_it_is_the_attention_of_transformers():
    layer, inputs = Layer(), tensors(9)
    found, _ = tree_attention(layer, *inputs, None, scaling=0.3)
    expected, _ = sdpa_attention_forward(layer, *inputs, None, scaling=0.3)
    assert torch.equal(found, expected)


def test_a_mask_of_the_models_own_making_is_refused_beside_trees(rng):
    trees = tree_rows(random_groups(rng)).trees
    with pytest.raises(ValueError, match="the model masks its attention itself"):
        tree_attention(Layer(), *tensors(5), torch.zeros(1, 1, 5, 5), trees=trees)
