"""Reads the weights of quantized layers as plain numbers."""

from __future__ import annotations

from typing import Any

from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
from bitsandbytes.nn.modules import Int8Params, Params4bit
from torch import Tensor, nn


def dequantized(layer: nn.Module, name: str = "weight") -> Tensor:
    """Return a parameter of a layer of the base: dequantized, or itself where it is not quantized."""
    weight = getattr(layer, name)
    if isinstance(weight, Params4bit):
        return dequantize_4bit(weight.data, weight.quant_state)
    if isinstance(weight, Int8Params):
        state: Any = layer.state
        scales = weight.SCB if state.SCB is None else state.SCB  # bitsandbytes moves them at first use
        return int8_vectorwise_dequant(weight.data, scales.to(weight.device))
    return weight
