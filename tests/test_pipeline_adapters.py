"""Whole runs with adapters that are not plain LoRA: killed and resumed, started from, and taken out."""

import json
import signal

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny_runs import kill_when, run, write_recipe
from transformers import AutoModelForCausalLM

from alignkit.models.base import quantization_config
from alignkit.recipe import Model

STAGE = "  one: {train: dpo, on: pairs}"
LORA = {
    "pissa_niter_4": '{"r": 4, "dropout": 0.1, "init_lora_weights": "pissa_niter_4", "use_dora": true}',
    "orthogonal": '{"r": 4, "init_lora_weights": "orthogonal", "use_rslora": true}',
}
IDS = torch.tensor([[2, 5, 9, 12, 7, 3]])


@pytest.mark.parametrize("kind", LORA)
def test_killed_and_run_again_it_ends_with_the_same_bits(kind, base, tmp_path):
    recipe = write_recipe(tmp_path, base, STAGE, f"model.lora={LORA[kind]}", "training.weight_decay=0.1")
    run(recipe, tmp_path / "whole")
    assert kill_when(recipe, tmp_path / "cut", 5) == -signal.SIGKILL
    assert "resuming after step" in run(recipe, tmp_path / "cut")
    whole, cut = (
        tmp_path / name / "tiny" / "one" / "adapter" / "adapter_model.safetensors"
        for name in ("whole", "cut")
    )
    assert whole.read_bytes() == cut.read_bytes()


def test_a_later_stage_starts_from_the_adapter_and_keeps_frozen_what_was_frozen(base, tmp_path):
    stages = f"{STAGE}\n  two: {{train: dpo, on: pairs, start: one, steps: 2}}"
    recipe = write_recipe(tmp_path, base, stages, f"model.lora={LORA['pissa_niter_4']}")
    run(recipe, tmp_path)
    one, two = (
        load_file(tmp_path / "tiny" / name / "adapter" / "adapter_model.safetensors")
        for name in ("one", "two")
    )
    for key, value in one.items():
        if "lora_A" in key:
            assert value.shape[0] == 8
            assert torch.equal(value[4:], two[key][4:])
            assert not torch.equal(value[:4], two[key][:4])


def test_the_first_divergence_from_the_reference_is_zero_where_the_start_is_no_zero(base, tmp_path):
    recipe = write_recipe(tmp_path, base, STAGE, f"model.lora={LORA['orthogonal']}", "training.steps=1")
    run(recipe, tmp_path)
    first = json.loads((tmp_path / "tiny" / "one" / "metrics.jsonl").read_text().splitlines()[0])
    assert abs(first["rewards/margins"]) < 1e-5


def test_a_loftq_policy_is_merged_into_the_weights_that_it_was_trained_over(alignkit, base, tmp_path):
    lora = '{"r": 4, "init_lora_weights": "loftq"}'
    recipe = write_recipe(tmp_path, base, STAGE, f"model.lora={lora}", "model.quantization=nf4")
    run(recipe, tmp_path)
    stage = tmp_path / "tiny" / "one"
    alignkit("export", stage, "--to", tmp_path / "merged", "--merged", "--dtype", "float32")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert not hasattr(merged.config, "quantization_config")

    quantized = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=torch.float32,
        quantization_config=quantization_config(Model(quantization="nf4"), torch.float32),
        device_map={"": "cpu"},
    )
    plain = PeftModel.from_pretrained(quantized, str(stage / "adapter"))
    with torch.no_grad():
        torch.testing.assert_close(merged(IDS).logits, plain(IDS).logits, atol=1e-3, rtol=0)
