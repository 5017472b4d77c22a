"""Loads the frozen base that all roles share: any causal language model, quantized or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from bitsandbytes.nn.modules import Params4bit
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from alignkit import recipe
from alignkit.data.tokenizing import Tokenization
from alignkit.models.agreement import attend_by_trees, require_agreement, tolerance_of, why_flat
from alignkit.models.blocks import BlockConfig
from alignkit.models.lora import check_adapter
from alignkit.models.pretrained import load_pretrained, load_tokenizer, locate, positions_of
from alignkit.registry import Registry

FITS_WHOLE = 1e9
"""Parameters up to which a base's activations fit into a GPU's memory, so that none are computed again."""


@dataclass(frozen=True)
class Base:
    """A loaded base with its tokenizer.

    dtype: what it computes in. flat_because: why its rows cannot be prefix trees; None means that they may
    be. checkpointing: whether activations are computed again in the backward pass, not kept.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    device: torch.device
    flat_because: str | None = None
    checkpointing: bool = False

    @property
    def trees(self) -> bool:
        """Return whether rows may be prefix trees."""
        return self.flat_because is None

    @property
    def pad(self) -> int:
        """Return the token id that fills up rows."""
        pad = self.tokenizer.pad_token_id
        assert isinstance(pad, int)
        return pad

    @property
    def positions(self) -> int | None:
        """Return the most tokens that it has positions for; None means that there is no bound."""
        return positions_of(self.model.config)

    @property
    def ends(self) -> set[int]:
        """Return the token ids that end a completion.

        They are the tokenizer's end-of-sequence, the end of a turn of its chat template, and the ends of the
        model's generation settings.
        """
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        listed = configured if isinstance(configured, list) else [configured]
        turn = Tokenization(self.tokenizer, max_length=8).stop_ids
        return {*turn, *(end for end in listed if isinstance(end, int))}

    def text(self, ids: list[int], after: list[int] | None = None) -> str:
        """Return the text of token ids, without special tokens.

        after: the ids of a plain prompt. With them, the text keeps the space that joins it to the prompt.
        """
        alone = str(self.tokenizer.decode(ids, skip_special_tokens=True))
        if not after:
            return alone
        prompt, whole = (
            str(self.tokenizer.decode(some, skip_special_tokens=True)) for some in (after, after + ids)
        )
        return whole[len(prompt) :] if whole.startswith(prompt) else alone


def bytes_of_weights(base: Base) -> int:
    """Return the memory that the base's weights take where none is quantized, in bytes, without adapters."""
    weights = (weight for name, weight in base.model.named_parameters() if "lora_" not in name)
    return base.dtype.itemsize * sum(map(_numbers, weights))


def load_base(spec: recipe.Model, registry: Registry, device: torch.device) -> Base:
    """Load, quantize and freeze the base on `device`.

    Raises UserError where it cannot be loaded, where a name in `model.lora` is no layer of it, and where its
    log-probabilities, as they are computed here, are not those of its own code.
    """
    dtype = compute_dtype(spec.dtype, device)
    model = _load_frozen(spec, locate(spec, registry), dtype, device)
    check_adapter(model, spec.lora)
    tolerance = tolerance_of(dtype, int8=spec.quantization == "int8")
    flat_because = why_flat(model) or attend_by_trees(model, dtype, tolerance)
    if flat_because is not None:
        require_agreement(model, dtype, tolerance)
    checkpointing = spec.gradient_checkpointing
    if checkpointing == "auto":
        checkpointing = device.type == "cuda" and model.num_parameters() > FITS_WHOLE
    return Base(model, load_tokenizer(spec, registry), dtype, device, flat_because, checkpointing)


def compute_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype to compute in.

    `auto` is bfloat16 where the processor multiplies it natively; elsewhere float16 on CUDA, float32 on CPUs.
    """
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def quantization_config(spec: recipe.Model, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """Return how bitsandbytes quantizes the weights; None means not at all.

    Raises ValueError for `auto`, which `alignkit.models.quantization` decides before anything is loaded.
    """
    if spec.quantization == "auto":
        raise ValueError("model.quantization is still auto: settle it before the base is loaded")
    if spec.quantization in ("nf4", "fp4"):
        return BlockConfig(
            spec.block_size,
            load_in_4bit=True,
            bnb_4bit_quant_type=spec.quantization,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return BitsAndBytesConfig(load_in_8bit=True) if spec.quantization == "int8" else None


def switch_dropout_off(config: PreTrainedConfig) -> None:
    """Set every probability of dropout, and the noise of routers, to 0 in a configuration and those in it."""
    for name, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            switch_dropout_off(value)
        elif ("drop" in name or "jitter_noise" in name) and isinstance(value, float):
            setattr(config, name, 0.0)


def _numbers(weight: nn.Parameter) -> int:
    """Return how many numbers a parameter stands for; two numbers of 4 bits share a byte."""
    if not isinstance(weight, Params4bit):
        return weight.numel()
    state: Any = weight.quant_state
    return state.shape.numel()


def _load_frozen(spec: recipe.Model, place: str, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """Return the model with its weights quantized and frozen, and its dropout off."""
    config = load_pretrained(AutoConfig, place, spec.revision)
    switch_dropout_off(config)
    options: dict[str, Any] = {
        "dtype": dtype,
        "quantization_config": quantization_config(spec, dtype),
        "device_map": {"": device},
    }
    model: PreTrainedModel = load_pretrained(
        AutoModelForCausalLM, place, spec.revision, config=config, **options
    )
    model.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Dropout):  # the configuration does not govern all of them
            module.p = 0.0
    # The model stays in train mode, which changes nothing as dropout is off: in eval mode bitsandbytes
    # repacks weights for good on some CPUs.
    model.train()
    return model
