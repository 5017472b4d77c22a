"""Loads the frozen base that all roles share: any causal language model, quantized or not, and its tokenizer."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models.attention import NAME as TREE_ATTENTION
from alignkit.registry import Registry


@dataclass(frozen=True)
class Base:
    """A loaded base. flat_because: why its rows cannot be prefix trees, None where they can. checkpointing: recompute activations."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    device: torch.device
    flat_because: str | None = None
    checkpointing: bool = False

    @property
    def trees(self) -> bool:
        """Whether rows may be prefix trees."""
        return self.flat_because is None

    @property
    def pad(self) -> int:
        """The id that fills up rows."""
        pad = self.tokenizer.pad_token_id
        assert isinstance(pad, int)
        return pad

    @property
    def ends(self) -> set[int]:
        """Token ids that end a completion: the tokenizer's end-of-sequence and those of the model's generation settings."""
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        listed = configured if isinstance(configured, list) else [configured]
        return {end for end in (self.tokenizer.eos_token_id, *listed) if isinstance(end, int)}

    def text(self, ids: list[int], after: list[int] | None = None) -> str:
        """The text of token ids, without special tokens. `after` a plain prompt's ids it keeps the space that joins it to the prompt."""
        alone = str(self.tokenizer.decode(ids, skip_special_tokens=True))
        if not after:
            return alone
        prompt, whole = (str(self.tokenizer.decode(some, skip_special_tokens=True)) for some in (after, after + ids))
        return whole[len(prompt) :] if whole.startswith(prompt) else alone


def locate(spec: recipe.Model, registry: Registry) -> str:
    """The folder or hub id behind `model.base`: a registered short name, a local folder, or a hub id as it stands."""
    if spec.base in registry.models.items:
        return registry.models.get(spec.base)()
    if Path(spec.base).is_dir() or (spec.base.count("/") <= 1 and not spec.base.startswith((".", "/", "~"))):
        return spec.base
    raise UserError(
        f"no folder {spec.base!r}",
        where="model.base",
        hint=f"Give a local folder, a hub id (owner/name), or one of: {', '.join(sorted(registry.models.items))}.",
    )


def load_tokenizer(spec: recipe.Model, registry: Registry) -> PreTrainedTokenizerBase:
    """The base's tokenizer, with a pad token."""
    tokenizer = _load(AutoTokenizer, locate(spec, registry), spec)
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no end-of-sequence token", where="model.base", hint="Completions need one; choose another base.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(spec: recipe.Model, registry: Registry, device: torch.device) -> Base:
    """Load, quantize and freeze the base on `device`."""
    dtype = compute_dtype(spec.dtype, device)
    options: dict[str, Any] = {"dtype": dtype, "quantization_config": _quantization(spec, dtype), "device_map": {"": device}}
    model: PreTrainedModel = _load(AutoModelForCausalLM, locate(spec, registry), spec, **options)
    model.requires_grad_(False)
    flat_because = why_flat(model)
    if flat_because is None:
        model.set_attn_implementation(TREE_ATTENTION)
    checkpointing = spec.gradient_checkpointing
    pays = device.type == "cuda" and model.num_parameters() > 1e9  # smaller ones fit without recomputing anything
    # Train mode throughout: dropout is off in the configuration, and bitsandbytes repacks weights for good when it
    # meets a module in eval mode on some CPUs.
    model.train()
    return Base(model, load_tokenizer(spec, registry), dtype, device, flat_because, pays if checkpointing == "auto" else checkpointing)


def compute_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of the computation; `auto` takes bfloat16 only where the processor multiplies it natively."""
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def why_flat(model: PreTrainedModel) -> str | None:
    """Why this architecture's rows cannot be prefix trees, or None where they can."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or []) - {"full_attention"}
    if kinds:
        return f"it has {', '.join(sorted(kinds))} layers"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return "its attention has a sliding window"
    if getattr(config, "attn_logit_softcapping", None):
        return "its attention caps logits"
    if not model._supports_sdpa:
        return "its attention is its own"
    return None


def fingerprint(spec: recipe.Model, registry: Registry) -> str:
    """What a stage's fingerprint holds of the base: a folder's configuration and file sizes, or the hub id and revision."""
    place = Path(locate(spec, registry))
    if not place.is_dir():
        return json.dumps([str(place), spec.revision])
    config = (place / "config.json").read_bytes() if (place / "config.json").is_file() else b""
    sizes = sorted((file.name, file.stat().st_size) for file in place.iterdir() if file.suffix in (".safetensors", ".bin", ".json"))
    return hashlib.sha256(config + json.dumps(sizes).encode()).hexdigest()


def _quantization(spec: recipe.Model, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    if spec.quantization == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    return BitsAndBytesConfig(load_in_8bit=True) if spec.quantization == "int8" else None


def _load(cls: Any, place: str, spec: recipe.Model, **options: Any) -> Any:
    """from_pretrained, its bars silenced and its failures told as the user's: no such model, no network."""
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return cls.from_pretrained(place, revision=spec.revision or "main", **options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"cannot load {place!r}: {reason}",
            where="model.base",
            hint="Check the spelling and the network, or give a local folder; a folder needs config.json, weights and a tokenizer.",
        ) from error
