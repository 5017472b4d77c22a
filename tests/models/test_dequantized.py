"""Weights of quantized layers as plain numbers: those that the layer multiplies with."""

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from torch import nn

from alignkit.models.dequantized import dequantized


def test_a_plain_weight_is_itself():
    layer = nn.Linear(3, 4)
    assert dequantized(layer) is layer.weight
    assert dequantized(layer, "bias") is layer.bias


@pytest.mark.parametrize("double", [False, True])
def test_a_4_bit_weight_is_what_the_layer_gives_for_each_unit_input(double):
    torch.manual_seed(0)
    layer = Linear4bit(
        64, 32, bias=False, quant_type="nf4", compute_dtype=torch.float32, compress_statistics=double
    ).to("cpu")
    found = dequantized(layer)
    assert found.shape == (32, 64)
    torch.testing.assert_close(layer(torch.eye(64)).T, found, atol=1e-6, rtol=1e-6)
