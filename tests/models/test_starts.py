"""How adapters begin: policy and reference agree, the base stays as it was, and plain PEFT reads what comes
of it.
"""

import random

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_bases import GPT, load_tiny, save_base, word_groups
from tiny_models import SIZES, plain_logps, shake
from transformers import AutoModelForCausalLM, MixtralConfig
from transformers.pytorch_utils import Conv1D

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models.base import Base, quantization_config
from alignkit.models.computing import role_signals
from alignkit.models.dequantized import dequantized
from alignkit.models.partly_frozen import PartlyFrozen
from alignkit.models.roles import Roles
from alignkit.models.starts import adapted, kind_of
from alignkit.sampling.merged import MergedModel

KINDS = [True, False, "gaussian", "orthogonal", "pissa", "pissa_niter_4", "olora", "mica"]
CASES = (
    [(kind, "none") for kind in KINDS] + [(kind, "nf4") for kind in [*KINDS, "loftq"]] + [("loftq", "int8")]
)
DORA = [(kind, quantization, True) for kind, quantization in CASES if quantization != "int8"]
ALL = [(*case, False) for case in CASES] + DORA
GROUPS = word_groups(random.Random(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"), "llama")


def make_roles(folder, kind, quantization="none", **lora):
    base = load_tiny(folder, quantization=quantization)
    settings = recipe.Lora.model_validate({"r": 4, "alpha": 6, "init_lora_weights": kind, **lora})
    return Roles(base, settings, seed=0)


@torch.no_grad()
def logps(roles, name):
    rows = roles.rows(GROUPS)
    return next(iter(role_signals(roles, name, rows).values()))[rows.batch.mask]


def layers_of(roles, name="policy"):
    return [layer for _, layer in adapted(roles.base.model, roles.roles[name].adapter)]


def assert_near(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@pytest.mark.parametrize(("kind", "quantization", "dora"), ALL)
def test_policy_and_reference_agree_at_step_0_and_the_base_keeps_its_bits(folder, kind, quantization, dora):
    roles = make_roles(folder, kind, quantization, use_dora=dora)
    before = {name: value.clone() for name, value in roles.base.model.state_dict().items()}
    with roles:
        roles.add("policy", trainable=True)
        roles.add("reference", trainable=False)
        assert_near(logps(roles, "policy"), logps(roles, "reference"))
        reference = logps(roles, "reference")
        shake(roles, "policy")
        assert torch.equal(logps(roles, "reference"), reference)
        assert (logps(roles, "policy") - reference).abs().max() > 0.01
    after = roles.base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(("kind", "quantization", "dora"), ALL)
def test_a_saved_policy_gives_its_numbers_as_a_later_start_in_plain_peft_and_merged(
    folder, tmp_path, kind, quantization, dora
):
    roles = make_roles(folder, kind, quantization, use_dora=dora)
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    expected = logps(roles, "policy")
    roles.save("policy", tmp_path)
    assert kind_of(tmp_path) == kind

    later = make_roles(folder, kind, quantization, use_dora=dora)
    for name, trainable in (("policy", True), ("reference", False)):
        later.add(name, trainable=trainable, start=tmp_path)
        assert torch.equal(logps(later, name), expected)
    trained = {name: value.shape for name, value in roles.parameters("policy").items()}
    assert {name: value.shape for name, value in later.parameters("policy").items()} == trained

    if quantization != "int8":  # which rounds activations
        merged = MergedModel(later).load("policy")
        assert_near(plain_logps(merged, GROUPS).detach(), expected, atol=1e-4)
    options = {
        "quantization_config": quantization_config(recipe.Model(quantization=quantization), torch.float32)
    }
    plain = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, device_map={"": "cpu"}, **options
    )
    plain = PeftModel.from_pretrained(plain, str(tmp_path)).train()  # int8 rounds activations in eval mode
    assert_near(plain_logps(plain, GROUPS).detach(), expected, atol=1e-4)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("kind", ["pissa", "olora"])
def test_a_start_that_is_subtracted_computes_what_peft_computes_over_the_changed_base(folder, kind, rslora):
    patterns = {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.0.mlp.*": 3}}
    roles = make_roles(folder, kind, use_rslora=rslora, **patterns)
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    theirs = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        LoraConfig(
            r=4,
            lora_alpha=6,
            target_modules="all-linear",
            init_lora_weights=kind,
            use_rslora=rslora,
            **patterns,
        ),
    )
    for ours, layer in zip(layers_of(roles), layers_of_peft(theirs), strict=True):
        assert ours.scaling["policy"] == pytest.approx(layer.scaling["default"])
        layer.lora_A["default"].weight.data.copy_(ours.lora_A["policy"].trained)
        layer.lora_B["default"].weight.data.copy_(ours.lora_B["policy"].trained)
    assert_near(logps(roles, "policy"), plain_logps(theirs, GROUPS).detach(), atol=1e-4)


def layers_of_peft(model):
    return [layer for _, layer in adapted(model, "default")]


def test_pissa_begins_with_the_best_approximation_of_each_weight(folder):
    roles = make_roles(folder, "pissa")
    roles.add("policy", trainable=True)
    for layer in layers_of(roles):
        left, values, right = torch.linalg.svd(layer.get_base_layer().weight)
        expected = left[:, :4] * values[:4] @ right[:4]
        down, up = layer.lora_A["policy"].trained, layer.lora_B["policy"].trained
        assert_near(6 / 4 * up.detach() @ down.detach(), expected)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_loftq_begins_with_the_best_approximation_of_what_quantization_lost(folder, quantization):
    roles = make_roles(folder, "loftq", quantization)
    roles.add("policy", trainable=True)
    original = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for path, layer in adapted(roles.base.model, "policy"):
        lost = original.get_submodule(path).weight.detach() - dequantized(layer.get_base_layer())
        left = lost - layer.get_delta_weight("policy").detach()
        values = torch.linalg.svdvals(lost)
        # Eckart and Young: what remains is made of the singular values that the rank leaves out
        torch.testing.assert_close(left.norm(), values[4:].norm(), rtol=1e-3, atol=1e-6)
        assert left.norm() < 0.95 * lost.norm()


def test_mica_trains_a_over_the_smallest_left_singular_vectors_of_each_weight(folder):
    roles = make_roles(folder, "mica", "nf4")
    roles.add("policy", trainable=True)
    assert all("lora_A" in name for name in roles.trainable())
    for layer in layers_of(roles):
        assert not layer.lora_A["policy"].weight.any()
        weight, up = dequantized(layer.get_base_layer()), layer.lora_B["policy"].weight
        smallest = torch.linalg.svdvals(weight)[-4:].norm()
        torch.testing.assert_close((up.T @ weight).norm(), smallest, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["pissa", "olora", "mica"])
def test_what_is_frozen_stays_whatever_the_optimizer_does(folder, kind):
    roles = make_roles(folder, kind)
    roles.add("policy", trainable=True)
    frozen = [module for module in roles.model.modules() if isinstance(module, PartlyFrozen)]
    before = [module.frozen.clone() for module in frozen]
    optimizer = torch.optim.AdamW(roles.trainable().values(), lr=0.1, weight_decay=0.5)
    rows = roles.rows(GROUPS)
    role_signals(roles, "policy", rows)["logps"].sum().backward()
    trained = {name: value.clone() for name, value in roles.trainable().items()}
    optimizer.step()
    assert all(torch.equal(module.frozen, value) for module, value in zip(frozen, before, strict=True))
    assert all(not torch.equal(value, trained[name]) for name, value in roles.trainable().items())


def test_a_frozen_role_is_the_bare_base_where_no_trained_role_is_fresh(folder, tmp_path):
    bare = make_roles(folder, True)
    bare.add("policy", trainable=False)
    roles = make_roles(folder, "orthogonal")
    roles.add("policy", trainable=True)
    roles.save("policy", tmp_path)
    later = make_roles(folder, "orthogonal")
    later.add("policy", trainable=True, start=tmp_path)
    later.add("reference", trainable=False)
    assert later.roles["reference"].adapter is None
    assert torch.equal(logps(later, "reference"), logps(bare, "policy"))


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_adapters_are_a_function_of_the_seed(folder, kind):
    found = []
    for _ in range(2):
        torch.rand(3)
        roles = make_roles(folder, kind)
        for name in ("policy", "value"):
            roles.add(name, trainable=True)
            state = roles.state(name)
            found.append({key: value for key, value in state.items() if "lora_" in key})
    first, *others = found
    for other in others:
        assert first.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize("kind", ["pissa", "olora", "mica"])
def test_a_rank_that_a_weight_does_not_have_is_refused_with_the_layer(folder, kind):
    roles = make_roles(folder, kind, r=17)
    with pytest.raises(
        UserError, match=r"model\.lora\.r: .*layers\.0\.self_attn\.k_proj is 16 × 32"
    ) as error:
        roles.add("policy", trainable=True)
    assert "Lower r to 16" in (error.value.hint or "")


def test_adapters_of_experts_begin_as_peft_makes_them_or_not_at_all():
    config = MixtralConfig(**{**SIZES, "num_local_experts": 2})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).requires_grad_(False)
    base = Base(model, None, torch.float32, torch.device("cpu"), "the test says so")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"the adapters of experts, such as .* cannot begin with pissa"):
        Roles(base, recipe.Lora(r=4, init_lora_weights="pissa"), seed=0).add("policy", trainable=True)


def test_weights_stored_the_other_way_round_begin_with_their_own_approximation(tmp_path):
    roles = make_roles(save_base(tmp_path, "gpt2", **GPT), "pissa", use_dora=True)
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    assert_near(logps(roles, "policy"), logps(roles, "reference"))
    assert isinstance(layers_of(roles)[0].get_base_layer(), Conv1D)
    shake(roles, "policy")
    merged = MergedModel(roles).load("policy")
    assert_near(plain_logps(merged, GROUPS).detach(), logps(roles, "policy"), atol=1e-4)
