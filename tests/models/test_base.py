"""The base as it is loaded: frozen, without dropout, with the ids that pad and end."""

import json
import math

import pytest
import torch
from tiny_bases import GPT, load_tiny, save_base
from tiny_runs import run, write_recipe
from transformers import AutoTokenizer

from alignkit.models.base import compute_dtype

CPU = torch.device("cpu")


def test_training_of_a_base_with_dropout_starts_at_its_reference(tmp_path):
    base = save_base(tmp_path / "base", "gpt2", **GPT)
    assert json.loads((base / "config.json").read_text())["resid_pdrop"] == 0.1
    run(write_recipe(tmp_path, base, "  one: {train: dpo, on: pairs}", "model.lora.dropout=0"), tmp_path)
    first = json.loads((tmp_path / "tiny" / "one" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_the_base_is_frozen_and_without_dropout(tmp_path):
    base = load_tiny(save_base(tmp_path, "gpt2", **GPT))
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert base.model.config.attn_pdrop == 0
    assert not [
        module for module in base.model.modules() if isinstance(module, torch.nn.Dropout) and module.p
    ]


def test_positions_pad_and_ends_are_those_of_its_files(tmp_path):
    folder = save_base(tmp_path, "llama")
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [1, 5]}))
    base = load_tiny(folder)
    assert base.positions == 64
    assert base.pad == AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("<pad>")
    assert base.ends == {1, 5}


def test_text_after_a_prompt_keeps_the_space_between_them(tmp_path):
    base = load_tiny(save_base(tmp_path, "llama"))
    ids = base.tokenizer.convert_tokens_to_ids(["red", "cat", "runs", "<eos>"])
    assert base.text(ids[1:]) == "cat runs"
    assert base.text(ids[1:], after=ids[:1]) == " cat runs"


def test_the_dtype_is_the_recipes_or_what_the_processor_multiplies_natively(monkeypatch):
    assert compute_dtype("float16", CPU) == torch.float16
    for avx, amx, expected in (
        (True, False, torch.bfloat16),
        (False, True, torch.bfloat16),
        (False, False, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=avx: found)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda found=amx: found)
        assert compute_dtype("auto", CPU) == expected
