"""Loads the frozen base that all roles share: any causal language model, quantized or not, and its
tokenizer.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from alignkit import recipe
from alignkit.data.rows import flat_rows, tree_rows
from alignkit.data.tokenizing import Tokenization
from alignkit.errors import UserError, first_line
from alignkit.models.attention import NAME as TREE_ATTENTION
from alignkit.models.forward import deviation
from alignkit.models.lora import check_target
from alignkit.registry import Registry

WEIGHTS = (".safetensors", ".bin", ".gguf")
CONTENT = (*WEIGHTS, ".json", ".jinja", ".model", ".txt")  # what a base's folder is made of
# bytes: of a file hashed whole; else of the blocks hashed, spread over it
WHOLE, BLOCKS, BLOCK = 32 * 2**20, 64, 64 * 2**10

# The share by which log-probabilities may differ from those of the model's own code: rounding, in another
# order.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 0.03, torch.int8: 0.03}


@dataclass(frozen=True)
class Base:
    """A loaded base. flat_because: why its rows cannot be prefix trees, None where they can. checkpointing:
    recompute activations.
    """

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
    def positions(self) -> int | None:
        """The most tokens that it has positions for; None where there is no bound."""
        return _positions(self.model.config)

    @property
    def ends(self) -> set[int]:
        """Token ids that end a completion: the tokenizer's end-of-sequence and those of the model's
        generation settings.
        """
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        listed = configured if isinstance(configured, list) else [configured]
        turn = Tokenization(self.tokenizer, max_length=8).stop_ids
        return {*turn, *(end for end in listed if isinstance(end, int))}

    def text(self, ids: list[int], after: list[int] | None = None) -> str:
        """The text of token ids, without special tokens. `after` a plain prompt's ids it keeps the space that
        joins it to the prompt.
        """
        alone = str(self.tokenizer.decode(ids, skip_special_tokens=True))
        if not after:
            return alone
        prompt, whole = (
            str(self.tokenizer.decode(some, skip_special_tokens=True)) for some in (after, after + ids)
        )
        return whole[len(prompt) :] if whole.startswith(prompt) else alone


def locate(spec: recipe.Model, registry: Registry) -> str:
    """The folder or hub id behind `model.base`: a registered short name's, a local folder's whole path, or a
    hub id as it stands.
    """
    if spec.base in registry.models.items:
        return registry.models.get(spec.base)()
    if Path(spec.base).is_dir():
        return str(Path(spec.base).resolve())
    if is_hub_id(spec.base):
        return spec.base
    raise UserError(
        f"no folder {spec.base!r}",
        where="model.base",
        hint="Give a local folder, a hub id (owner/name), or one of: "
        f"{', '.join(sorted(registry.models.items))}.",
    )


def is_hub_id(name: str) -> bool:
    """Whether this may be a model's name on the hub; otherwise it is a folder's."""
    return name.count("/") <= 1 and not name.startswith((".", "/", "~"))


def load_tokenizer(spec: recipe.Model, registry: Registry) -> PreTrainedTokenizerBase:
    """The base's tokenizer, with a pad token."""
    place = locate(spec, registry)
    tokenizer = load_pretrained(AutoTokenizer, place, spec.revision)
    if tokenizer.eos_token_id is None:
        raise UserError(
            "the tokenizer has no end-of-sequence token",
            where="model.base",
            hint="Completions need one; choose another base.",
        )
    try:
        ends = GenerationConfig.from_pretrained(place, revision=spec.revision or "main").eos_token_id
    except OSError:  # many bases have none
        ends = None
    choose_pad(tokenizer, ends if isinstance(ends, list) else [ends])
    return tokenizer


def choose_pad(tokenizer: PreTrainedTokenizerBase, ends: Sequence[int | None] = ()) -> None:
    """Make sure that the pad token, set or not, is none that ends a completion: transformers' sequence
    classifiers skip trailing pads, and would read a completion's score one token early. Other special tokens
    take its place; end-of-sequence where there is no other."""
    ending = [tokenizer.eos_token_id, *ends]
    others = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    special = [tokenizer.pad_token, tokenizer.unk_token, tokenizer.bos_token, *others]
    free = [
        token
        for token in special
        if token is not None and tokenizer.convert_tokens_to_ids(str(token)) not in ending
    ]
    tokenizer.pad_token = free[0] if free else tokenizer.eos_token


def most_positions(spec: recipe.Model, registry: Registry) -> int | None:
    """The most tokens that the base has positions for; None where its configuration sets no bound. Loads no
    weights.
    """
    return _positions(load_pretrained(AutoConfig, locate(spec, registry), spec.revision))


def _positions(config: Any) -> int | None:
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def load_base(spec: recipe.Model, registry: Registry, device: torch.device) -> Base:
    """Load, quantize and freeze the base on `device`. Raises UserError where its log-probabilities here are
    not those of its own code.
    """
    dtype, place = compute_dtype(spec.dtype, device), locate(spec, registry)
    config = load_pretrained(AutoConfig, place, spec.revision)
    switch_dropout_off(config)
    options: dict[str, Any] = {
        "dtype": dtype,
        "quantization_config": _quantization(spec, dtype),
        "device_map": {"": device},
    }
    model: PreTrainedModel = load_pretrained(
        AutoModelForCausalLM, place, spec.revision, config=config, **options
    )
    model.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Dropout):  # one that the configuration does not govern
            module.p = 0.0
    # Train mode throughout, as dropout is off: bitsandbytes repacks weights for good when it meets a module
    # in eval mode on some CPUs.
    model.train()
    check_target(model, spec.lora.target)
    tolerance = TOLERANCE[torch.int8 if spec.quantization == "int8" else dtype]
    flat_because = why_flat(model) or _lay_trees(model, dtype, tolerance)
    if flat_because is not None:
        _require_agreement(model, dtype, tolerance)
    checkpointing = spec.gradient_checkpointing
    # smaller ones fit without recomputing anything
    pays = device.type == "cuda" and model.num_parameters() > 1e9
    return Base(
        model,
        load_tokenizer(spec, registry),
        dtype,
        device,
        flat_because,
        pays if checkpointing == "auto" else checkpointing,
    )


def switch_dropout_off(config: PreTrainedConfig) -> None:
    """Set every dropout probability, and every noise on a router, to 0 in the configuration and those within
    it.
    """
    for name, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            switch_dropout_off(value)
        elif ("drop" in name or "jitter_noise" in name) and isinstance(value, float):
            setattr(config, name, 0.0)


def _lay_trees(model: PreTrainedModel, dtype: torch.dtype, tolerance: float) -> str | None:
    """Have the model attend by trees; where its log-probabilities then are not its own, undo it and say
    so.
    """
    own = model.config._attn_implementation or "eager"
    model.set_attn_implementation(TREE_ATTENTION)
    try:
        found = deviation(model, tree_rows, dtype)
    except torch.OutOfMemoryError:
        raise
    # whatever a model's code does with a mask and an argument that it does not expect
    except Exception as error:
        why = f"its code fails on them ({type(error).__name__}: {first_line(error)[:100]})"
    else:
        if found <= tolerance:
            return None
        why = f"its log-probabilities differ on them by {found:.2%}"
    model.set_attn_implementation(own)
    return why


def _require_agreement(model: PreTrainedModel, dtype: torch.dtype, tolerance: float) -> None:
    """Refuse a model whose log-probabilities the engine does not reproduce."""
    try:
        found = deviation(model, flat_rows, dtype)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise UserError(
            f"this base ({model.config.model_type}) cannot be run ({type(error).__name__}: "
            f"{first_line(error)})",
            where="model.base",
            hint="A causal language model with one stack of layers and one output head is expected; choose "
            "another base.",
        ) from error
    if not found <= tolerance:
        raise UserError(
            f"the log-probabilities computed for this base ({model.config.model_type}, "
            f"{str(dtype).removeprefix('torch.')}) differ from "
            f"those of its own code by {found:.2%}, at most {tolerance:.2%} is expected",
            where="model.base",
            hint="Its output head does something that is not known here, or its numbers overflow: try "
            "`model.dtype: float32`, or choose "
            "another base.",
        )


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
    """What a stage's fingerprint holds of the base: the content of a folder's files, or the hub id and
    revision.
    """
    place = Path(locate(spec, registry))
    if not place.is_dir():
        return json.dumps([str(place), spec.revision])
    files = sorted(file for file in place.iterdir() if file.suffix in CONTENT and file.is_file())
    return hashlib.sha256(
        json.dumps([(file.name, file.stat().st_size, _content(file)) for file in files]).encode()
    ).hexdigest()


def _content(file: Path) -> str:
    """SHA-256 of a file's bytes; of large weights, of blocks spread evenly from the first byte to the
    last.
    """
    size, found = file.stat().st_size, hashlib.sha256()
    with file.open("rb") as stream:
        if size <= WHOLE or file.suffix not in WEIGHTS:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        for number in range(BLOCKS):
            stream.seek((size - BLOCK) * number // (BLOCKS - 1))
            found.update(stream.read(BLOCK))
    return found.hexdigest()


def _quantization(spec: recipe.Model, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    if spec.quantization == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return BitsAndBytesConfig(load_in_8bit=True) if spec.quantization == "int8" else None


def load_pretrained(
    cls: Any, place: str, revision: str | None, *, where: str = "model.base", **options: Any
) -> Any:
    """from_pretrained, its bars silenced and its failures told as the user's: no such model, no network."""
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return cls.from_pretrained(place, revision=revision or "main", **options)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot load {place!r}: {first_line(error)}",
            where=where,
            hint="Check the spelling and the network, or give a local folder; a folder needs config.json, "
            "weights and a tokenizer.",
        ) from error
