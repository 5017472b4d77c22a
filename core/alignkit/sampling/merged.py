"""An unquantized copy of the base with a role's adapter merged in: decoding through a quantized base
dequantizes it at every token.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import psutil
import torch
from accelerate import init_empty_weights
from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
from bitsandbytes.nn.modules import Int8Params, Params4bit
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from alignkit.models.base import Base
from alignkit.models.roles import Roles

# the copy may take a half of the free memory: training, or the cache of keys and values, needs the rest
MARGIN = 2


class MergedCopy:
    """A plain causal language model beside the base, in the dtype that the base computes in. `load` fills
    it.
    """

    def __init__(self, roles: Roles) -> None:
        self.roles = roles
        self.model = _unfilled(roles.base)

    @torch.no_grad()
    def load(self, role: str) -> PreTrainedModel:
        """The copy, all its weights made anew: W + scaling·B·A, added in fp32, of the role's adapter as it is
        now.
        """
        adapter = self.roles.roles[role].adapter
        base: Any = self.roles.base.model
        # the parameters filled so far, and whether an adapter changed them
        adapted: dict[nn.Parameter, bool] = {}
        for path, module in self.model.named_modules():
            source = base.get_submodule(path)
            layer = source.get_base_layer() if isinstance(source, BaseTunerLayer) else source
            for name, parameter in list(module.named_parameters(recurse=False)):
                change = _change(source, adapter) if name == "weight" else None
                if parameter in adapted:
                    if change is None and not adapted[parameter]:
                        continue
                    # Tied embeddings of which an adapter changes one: from here on the copy has two.
                    parameter = nn.Parameter(torch.empty_like(parameter), requires_grad=False)
                    module.register_parameter(name, parameter)
                weight = _plain(layer, name)
                parameter.copy_(weight if change is None else weight.float() + change)
                adapted[parameter] = change is not None
            for name, buffer in module.named_buffers(recurse=False):
                if name not in module._non_persistent_buffers_set:
                    buffer.copy_(getattr(layer, name))
        return self.model

    @staticmethod
    def bytes(base: Base) -> int:
        """The memory of a copy's weights."""
        weights = (weight for name, weight in base.model.named_parameters() if "lora_" not in name)
        return base.dtype.itemsize * sum(_size(weight) for weight in weights)


def mergeable(base: Base) -> bool:
    """Whether `load` knows how the base's adapters change it: PEFT wraps the parameters of experts, which are
    no layer's `weight`.
    """
    return not any(isinstance(module, ParamWrapper) for module in base.model.modules())


def fits(base: Base, device: torch.device) -> bool:
    """Whether a copy fits into the free memory of `device` twice."""
    return MARGIN * MergedCopy.bytes(base) <= free(device)


def free(device: torch.device) -> int:
    """Free bytes: of a GPU, what PyTorch keeps without using it counts as free."""
    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    return psutil.virtual_memory().available


def is_quantized(base: Base) -> bool:
    """Whether any weight of the base is stored in 4 or 8 bits."""
    return any(isinstance(weight, Params4bit | Int8Params) for weight in base.model.parameters())


def _unfilled(base: Base) -> PreTrainedModel:
    """A model of the base's architecture, its weights not yet set, its other tensors (rotary frequencies) as
    its own code makes them.
    """
    config: Any = copy.deepcopy(base.model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    attention = "sdpa" if base.model._supports_sdpa else "eager"
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=base.dtype, attn_implementation=attention)
    model.tie_weights()
    rooms: dict[nn.Parameter, nn.Parameter] = {}  # tied parameters share one
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter not in rooms:
                rooms[parameter] = nn.Parameter(
                    torch.empty_like(parameter, device=base.device), requires_grad=False
                )
            module.register_parameter(name, rooms[parameter])
    return model.to(base.device).eval()


def _change(source: Any, adapter: str | None) -> Tensor | None:
    """What the adapter adds to the weight of its layer, None where it adds nothing."""
    adapted = (
        adapter is not None and isinstance(source, BaseTunerLayer) and adapter in cast(Any, source).scaling
    )
    return cast(Any, source).get_delta_weight(adapter).float() if adapted else None


def _plain(layer: nn.Module, name: str) -> Tensor:
    """A parameter of a layer of the base, dequantized."""
    weight = getattr(layer, name)
    if isinstance(weight, Params4bit):
        return dequantize_4bit(weight.data, weight.quant_state)
    if isinstance(weight, Int8Params):
        state: Any = layer.state
        scales = weight.SCB if state.SCB is None else state.SCB  # bitsandbytes moves them at the first use
        return int8_vectorwise_dequant(weight.data, scales.to(weight.device))
    return weight


def _size(weight: nn.Parameter) -> int:
    """How many numbers a parameter stands for; two of 4 bits share a byte."""
    if not isinstance(weight, Params4bit):
        return weight.numel()
    state: Any = weight.quant_state
    return state.shape.numel()
