"""Bases of many architectures: what is computed of them is what plain transformers computes, or they are
refused.
"""

import json
import math
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_rows import plain_logps
from tiny_models import SIZES, random_groups
from tiny_runs import WORDS, make_base, run, write_recipe
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.example import Group
from alignkit.models.base import choose_pad, fingerprint, load_base, load_tokenizer
from alignkit.models.roles import Roles
from alignkit.registry import Registry

VOCABULARY = len(WORDS) + 2
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
EXPERTS = {"num_experts_per_tok": 2, "num_experts": 4, "num_local_experts": 4, "moe_intermediate_size": 32}
TREES = {
    "phi": {},  # a bias on its logits
    "granite": {"logits_scaling": 8.0},
    "cohere": {"logit_scale": 0.25},
    "gpt2": GPT,  # dropout in its configuration
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "seed_oss": {"residual_dropout": 0.1, "attention_dropout": 0.1},
    "qwen3_moe": EXPERTS,
    "mixtral": EXPERTS,
}
FLAT = {
    "gemma2": ({"final_logit_softcapping": 5.0}, "sliding_attention"),
    "gptj": ({**GPT, "rotary_dim": 4}, "its attention is its own"),
    "stablelm": ({}, "its code fails on them"),
    "nemotron": ({}, "its code fails on them"),
    "doge": ({}, "masks its attention itself"),
}


def saved(folder: Path, architecture: str, **options) -> Path:
    """A tiny base of an architecture, no parameter of it zero, with a tokenizer."""
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


def loaded(folder: Path, **options):
    options = {"quantization": "none", "dtype": "float32", **options}
    return load_base(recipe.Model(base=str(folder), **options), Registry(), torch.device("cpu"))


def groups() -> list[Group]:
    within = lambda ids: [token % VOCABULARY for token in ids]
    found = random_groups(random.Random(0))
    return [
        Group(within(group.prompt), tuple(map(within, group.completions)), group.columns) for group in found
    ]


def logps(base, groups) -> torch.Tensor:
    roles = Roles(base, recipe.Lora(r=4), seed=0)
    roles.add("policy", trainable=True)  # a fresh adapter changes nothing
    rows = roles.rows(groups)
    return roles.signals("policy", rows)["logps"][rows.batch.mask]


@pytest.mark.parametrize("architecture", [*TREES, *FLAT])
def test_log_probabilities_in_training_are_those_of_plain_transformers(architecture, tmp_path):
    options, reason = (TREES[architecture], None) if architecture in TREES else FLAT[architecture]
    folder = saved(tmp_path, architecture, **options)
    base = loaded(folder)
    assert base.trees == (reason is None)
    assert (reason or "") in (base.flat_because or "")
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.testing.assert_close(logps(base, groups()), plain_logps(plain, groups()), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("architecture", ["phi", "gpt2"])
def test_half_precision_is_no_reason_to_refuse_a_base_or_to_lay_it_flat(architecture, dtype, tmp_path):
    folder = saved(tmp_path, architecture, **TREES[architecture])
    base = loaded(folder, dtype=dtype)
    assert base.trees
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.testing.assert_close(logps(base, groups()), plain_logps(plain, groups()), atol=0.2, rtol=0)


def test_a_base_whose_log_probabilities_are_not_reproduced_is_refused(tmp_path):
    """This configuration knows a scale of the logits that the model's code never applies."""
    folder = saved(tmp_path, "mpt", d_model=32, n_heads=4, n_layers=2, max_seq_len=64, logit_scale=0.5)
    with pytest.raises(
        UserError,
        match=r"model\.base: the log-probabilities computed for this base \(mpt, "
        r"float32\) differ",
    ) as error:
        loaded(folder)
    assert "choose another base" in str(error.value)


def test_training_of_a_base_with_dropout_starts_at_its_reference(tmp_path):
    base = saved(tmp_path / "base", "gpt2", **GPT)
    assert json.loads((base / "config.json").read_text())["resid_pdrop"] == 0.1
    run(write_recipe(tmp_path, base, "  one: {train: dpo, on: pairs}", **{", dropout: 0.1": ""}), tmp_path)
    first = json.loads((tmp_path / "tiny" / "one" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ({"pad_token": "red", "unk_token": "blue"}, "red"),
        ({"pad_token": "<eos>", "unk_token": "blue", "bos_token": "cat"}, "blue"),
        ({"unk_token": "<eos>", "bos_token": "cat"}, "cat"),
        ({"bos_token": "<eos>", "additional_special_tokens": ["<eos>", "now", "dog"]}, "dog"),
        ({}, "<eos>"),
    ],
)
def test_pad_is_a_special_token_that_ends_nothing(base, tokens, expected):
    tokenizer = AutoTokenizer.from_pretrained(base, **{"pad_token": None, "unk_token": None, **tokens})
    size = len(tokenizer)
    choose_pad(tokenizer, ends=[*tokenizer.convert_tokens_to_ids(["<pad>", "now"]), None])
    assert tokenizer.pad_token == expected
    assert len(tokenizer) == size, "nothing is added"


def test_what_the_generation_settings_end_with_is_no_pad(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "base")
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [0, 1]}))
    spec = recipe.Model(base=str(folder))
    assert load_tokenizer(spec, Registry()).pad_token == "<eos>"
    (folder / "generation_config.json").unlink()
    assert load_tokenizer(spec, Registry()).pad_token == "<pad>"


def flip_a_byte(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def test_the_fingerprint_is_of_the_content_wherever_the_folder_lies(base, tmp_path):
    spec = lambda folder: recipe.Model(base=str(folder))
    first = fingerprint(spec(base), Registry())
    folder = shutil.copytree(base, tmp_path / "copy")
    assert fingerprint(spec(folder), Registry()) == first
    (folder / "README.md").write_text("says nothing of the weights")
    assert fingerprint(spec(folder), Registry()) == first

    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: weight * 2 for name, weight in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    changes = [fingerprint(spec(folder), Registry())]
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        (folder / name).write_text(
            (base / name).read_text().replace("red", "rod") + " " if (base / name).is_file() else "template"
        )
        changes.append(fingerprint(spec(folder), Registry()))
    assert len({first, *changes}) == 5


def test_of_large_weights_blocks_from_the_first_byte_to_the_last_count(base, tmp_path, monkeypatch):
    monkeypatch.setattr("alignkit.models.base.WHOLE", 1000)
    monkeypatch.setattr("alignkit.models.base.BLOCK", 100)
    folder = shutil.copytree(base, tmp_path / "copy")
    spec, weights = recipe.Model(base=str(folder)), folder / "model.safetensors"
    size = weights.stat().st_size
    seen = {fingerprint(spec, Registry())}
    for at in (0, (size - 100) // 63 + 50, size - 1):
        flip_a_byte(weights, at)
        seen.add(fingerprint(spec, Registry()))
    assert len(seen) == 4
    flip_a_byte(weights, 150)  # between blocks: the price of not reading all
    assert fingerprint(spec, Registry()) in seen
