"""Makes an unquantized model of the base with a role's adapter merged in.

A quantized base dequantizes its weights at every token; the merged model does not.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import torch
from accelerate import init_empty_weights
from bitsandbytes.nn.modules import Int8Params, Params4bit
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from alignkit.models.base import Base, bytes_of_weights
from alignkit.models.dequantized import dequantized
from alignkit.models.lora import adapted_weight
from alignkit.models.memory import bytes_free
from alignkit.sampler import SampledRoles

# The merged model may take half of the free memory; training, or the key-value cache, needs the rest.
MARGIN = 2


class MergedModel:
    """A plain causal language model beside the base, in the dtype that the base computes in.

    `load` fills its weights.
    """

    def __init__(self, roles: SampledRoles) -> None:
        self.roles = roles
        self.model = _unfilled(roles.base)

    @torch.no_grad()
    def load(self, role: str) -> PreTrainedModel:
        """Set all weights from the role's adapter as it is now, and return the model.

        A weight is computed in fp32, see `adapted_weight`.
        """
        adapter = self.roles.roles[role].adapter
        base: Any = self.roles.base.model
        # the parameters that are filled, and whether the adapter changed them
        adapted: dict[nn.Parameter, bool] = {}
        for path, module in self.model.named_modules():
            source = base.get_submodule(path)
            layer = source.get_base_layer() if isinstance(source, BaseTunerLayer) else source
            for name, parameter in list(module.named_parameters(recurse=False)):
                weight = dequantized(layer, name)
                merged = _merged(source, adapter, weight) if name == "weight" else None
                if parameter in adapted:
                    if merged is None and not adapted[parameter]:
                        continue
                    # The adapter changes one of two tied embeddings: from now on this model has two.
                    parameter = nn.Parameter(torch.empty_like(parameter), requires_grad=False)
                    module.register_parameter(name, parameter)
                parameter.copy_(weight if merged is None else merged)
                adapted[parameter] = merged is not None
            for name, buffer in module.named_buffers(recurse=False):
                if name not in module._non_persistent_buffers_set:
                    buffer.copy_(getattr(layer, name))
        return self.model


def mergeable(base: Base) -> bool:
    """Return whether `load` knows how the base's adapters change it.

    It does not know adapters of experts: PEFT wraps their parameters, which are not the `weight` of a layer.
    """
    return not any(isinstance(module, ParamWrapper) for module in base.model.modules())


def fits(base: Base, device: torch.device) -> bool:
    """Return whether the free memory of `device` has room for `MARGIN` merged models."""
    return bytes_needed(base) <= bytes_free(device)


def bytes_needed(base: Base) -> int:
    """Return the free memory, in bytes, without which no merged model is made."""
    return MARGIN * bytes_of_weights(base)


def is_quantized(base: Base) -> bool:
    """Return whether any weight of the base is stored in 4 or 8 bits."""
    return any(isinstance(weight, Params4bit | Int8Params) for weight in base.model.parameters())


def _unfilled(base: Base) -> PreTrainedModel:
    """Return a model of the base's architecture whose weights are not set yet.

    Its other tensors, such as rotary frequencies, are as its own code makes them.
    """
    config: Any = deepcopy(base.model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    attention = "sdpa" if base.model._supports_sdpa else "eager"
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=base.dtype, attn_implementation=attention)
    model.tie_weights()
    empty: dict[nn.Parameter, nn.Parameter] = {}  # tied parameters share one
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter not in empty:
                empty[parameter] = nn.Parameter(
                    torch.empty_like(parameter, device=base.device), requires_grad=False
                )
            module.register_parameter(name, empty[parameter])
    return model.to(base.device).eval()


def _merged(source: Any, adapter: str | None, weight: Tensor) -> Tensor | None:
    """Return the weight as the adapter makes it; None means that it does not adapt this layer."""
    if adapter is None or not isinstance(source, BaseTunerLayer) or adapter not in cast(Any, source).scaling:
        return None
    return adapted_weight(source, adapter, weight)
