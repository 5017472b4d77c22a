"""Lets bitsandbytes quantize weights to 4 bits in blocks of a size that the recipe gives.

transformers loads every 4-bit layer with bitsandbytes' own size, 64, and its configuration has no field for
another one. Importing this module puts a loader into its table that reads the size from the configuration.
"""

from __future__ import annotations

from typing import Any

from bitsandbytes.nn.modules import Linear4bit
from transformers import BitsAndBytesConfig
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer


class BlockConfig(BitsAndBytesConfig):
    """Settings of 4-bit weights. block_size: how many of them share one scale."""

    def __init__(self, block_size: int = 64, **settings: Any) -> None:
        super().__init__(**settings)
        self.block_size = block_size


class BlockQuantizer(Bnb4BitHfQuantizer):
    """Loads 4-bit weights in blocks of the configuration's size."""

    def _process_model_before_weight_loading(self, model: Any, device_map: Any, **options: Any) -> None:
        super()._process_model_before_weight_loading(model, device_map, **options)
        size = getattr(self.quantization_config, "block_size", 64)  # a base may bring a plain configuration
        for module in model.modules():
            if isinstance(module, Linear4bit):
                weight: Any = module.weight
                weight.blocksize = size


AUTO_QUANTIZER_MAPPING["bitsandbytes_4bit"] = BlockQuantizer
