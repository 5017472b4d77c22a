"""The merged model computes the same as the base with the adapter."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny_models import ARCHITECTURES, VOCABULARY, shake, tiny_base, tiny_model, tiny_roles
from transformers import AutoModelForCausalLM

from alignkit import recipe
from alignkit.models import memory
from alignkit.models.agreement import why_flat
from alignkit.models.base import Base, bytes_of_weights, quantization_config
from alignkit.models.roles import Roles
from alignkit.sampling.merged import MergedModel, fits, is_quantized

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 96]])


def quantized_roles(folder, quantization, **changes):
    """Roles over a tiny Llama, loaded and quantized as a run's base is."""
    tiny_model(**changes).save_pretrained(folder)
    spec = recipe.Model.model_validate({"base": str(folder), "quantization": quantization})
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        quantization_config=quantization_config(spec, torch.float32),
        device_map={"": "cpu"},
    )
    model.requires_grad_(False).train()
    return Roles(Base(model, None, torch.float32, CPU, why_flat(model)), recipe.Lora(r=4, alpha=8), seed=0)


@torch.no_grad()
def logits(roles, role):
    with roles.active(role) as model:
        return model(IDS).logits


@torch.no_grad()
def merged_logits(model, role):
    return model.load(role)(IDS).logits


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("tied", [False, True])
def test_logits_are_those_of_the_role(tmp_path, quantization, tied):
    roles = quantized_roles(tmp_path, quantization, tie_word_embeddings=tied)
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    shake(roles, "policy")
    model = MergedModel(roles)

    assert is_quantized(roles.base) == (quantization == "nf4")
    assert_same(merged_logits(model, "policy"), logits(roles, "policy"))
    assert_same(merged_logits(model, "reference"), logits(roles, "reference"))
    assert (logits(roles, "policy") - logits(roles, "reference")).abs().max() > 0.1, (
        "the adapter has an effect"
    )


def test_int8_weights_are_those_that_bitsandbytes_multiplies_with(tmp_path):
    roles = quantized_roles(tmp_path, "int8")
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    model = MergedModel(roles)
    before = merged_logits(model, "policy")

    # int8 rounds the activations too, to 1/127 of the largest; so the numbers are near, not equal.
    expected = logits(roles, "policy")
    assert (before - expected).abs().mean() < 0.05 * expected.std()
    assert torch.equal(merged_logits(model, "policy"), before), "the base's first use changes nothing"


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture(architecture):
    roles = tiny_roles(architecture)
    roles.add("policy", trainable=True)
    shake(roles, "policy")

    assert_same(merged_logits(MergedModel(roles), "policy"), logits(roles, "policy"))


def test_a_merged_model_follows_the_adapter():
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    model = MergedModel(roles)
    for seed in range(3):
        shake(roles, "policy", seed)
        assert_same(merged_logits(model, "policy"), logits(roles, "policy"))


def test_the_base_stays_as_it_was():
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    before = logits(roles, "policy")
    for parameter in MergedModel(roles).load("policy").parameters():
        parameter.zero_()

    assert torch.equal(logits(roles, "policy"), before)


def test_tied_embeddings_are_one_tensor():
    roles = tiny_roles(tie_word_embeddings=True)
    roles.add("policy", trainable=True)
    model = MergedModel(roles).load("policy")

    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert sum(parameter.numel() for parameter in model.parameters()) * 4 == bytes_of_weights(roles.base)


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_an_adapter_of_one_of_two_tied_embeddings_leaves_the_other_alone(target):
    roles = Roles(tiny_base(tie_word_embeddings=True), recipe.Lora(r=4, alpha=8, target=[target]), seed=0)
    roles.add("policy", trainable=True)
    for name, parameter in roles.model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    model = MergedModel(roles)

    assert_same(merged_logits(model, "policy"), logits(roles, "policy"))
    assert_same(merged_logits(model, "policy"), logits(roles, "policy"))


def test_the_merged_model_is_plain_and_in_the_dtype_of_the_computation():
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.base = replace(roles.base, dtype=torch.bfloat16)
    model = MergedModel(roles).load("policy")

    assert type(model) is type(roles.base.model)
    assert model.config._attn_implementation == "sdpa"
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_memory_is_that_of_the_unquantized_weights(tmp_path):
    numbers = sum(parameter.numel() for parameter in tiny_model().parameters())
    roles = quantized_roles(tmp_path, "nf4")
    roles.add("policy", trainable=True)

    assert bytes_of_weights(roles.base) == 4 * numbers
    assert bytes_of_weights(replace(roles.base, dtype=torch.bfloat16)) == 2 * numbers
    assert numbers > 2 * VOCABULARY * 32


def test_a_merged_model_fits_where_there_is_room_for_two(monkeypatch):
    base = tiny_base()
    need = bytes_of_weights(base)
    for available, expected in ((2 * need, True), (2 * need - 1, False)):
        monkeypatch.setattr(
            memory.psutil, "virtual_memory", lambda room=available: SimpleNamespace(available=room)
        )
        assert fits(base, CPU) is expected
