"""Tiny bases of many architectures, saved as folders and loaded as a run loads its base."""

import random
from pathlib import Path

import torch
from tiny_models import SIZES, random_groups
from tiny_runs import WORDS, make_base
from transformers import AutoConfig, AutoModelForCausalLM

from alignkit import recipe
from alignkit.example import Group
from alignkit.models.base import Base, load_base
from alignkit.registry import Registry

VOCABULARY = len(WORDS) + 2
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}


def save_base(folder: Path, architecture: str, **options) -> Path:
    """Save a tiny base of an architecture, with a tokenizer; no parameter of it is zero."""
    make_base(folder)
    sizes = {**SIZES, "vocab_size": VOCABULARY, "max_position_embeddings": 64}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(architecture, **{**sizes, **options}), dtype=torch.float32
    )
    for parameter in model.parameters():
        if not parameter.any():
            parameter.data.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder


def load_tiny(folder: Path, **options) -> Base:
    """Load a base on the CPU, in float32 and not quantized unless `options` say otherwise."""
    options = {"quantization": "none", "dtype": "float32", **options}
    return load_base(recipe.Model(base=str(folder), **options), Registry(), torch.device("cpu"))


def word_groups(rng: random.Random) -> list[Group]:
    """Random groups within the vocabulary of these bases."""

    def within(ids: list[int]) -> list[int]:
        return [token % VOCABULARY for token in ids]

    return [
        Group(within(group.prompt), tuple(map(within, group.completions)), group.columns)
        for group in random_groups(rng)
    ]
