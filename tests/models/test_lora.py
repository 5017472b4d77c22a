"""The quick computation of LoRA layers is PEFT's own, values and gradients."""

import random
import re

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, get_peft_model
from tiny_models import random_groups, shake, tiny_base
from torch import nn
from transformers.pytorch_utils import Conv1D

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models import roles as roles_module
from alignkit.models.computing import role_signals
from alignkit.models.lora import adapted_weight, check_adapter, check_target, peft_quiet, speed_up
from alignkit.models.roles import Roles
from alignkit.models.starts import adapted


def outcome(monkeypatch, quick, **lora):
    if not quick:
        monkeypatch.setattr(roles_module, "speed_up", lambda model: None)
    roles = Roles(tiny_base(), recipe.Lora(r=4, alpha=8, **lora), seed=0)
    for name, seed in (("policy", 1), ("reward", 2)):
        roles.add(name, trainable=True)
        shake(roles, name, seed)
    rows = roles.rows(random_groups(random.Random(0)))
    torch.manual_seed(0)
    logps, scores = (
        role_signals(roles, "policy", rows)["logps"],
        role_signals(roles, "reward", rows)["scores"],
    )
    (logps.sin().sum() + scores.cos().sum()).backward()
    return (
        logps.detach(),
        scores.detach(),
        {name: parameter.grad for name, parameter in roles.trainable().items()},
    )


@pytest.mark.parametrize(
    "lora",
    [
        {},
        {"dropout": 0.3},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "pissa", "dropout": 0.3},
        {"init_lora_weights": "mica", "use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"mlp.*": 3}},
        {"use_dora": True},
    ],
)
def test_signals_and_gradients_of_every_role_are_those_of_peft(lora, monkeypatch):
    found, expected = (outcome(monkeypatch, quick, **lora) for quick in (True, False))
    for one, other in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert found[2].keys() == expected[2].keys()
    for name, gradient in expected[2].items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(found[2][name], gradient, atol=1e-5, rtol=1e-4)


class Quantized(nn.Module):
    """Two 4-bit layers, the second with an input that needs a gradient."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = (
            Linear4bit(64, 64, bias=False, quant_type="nf4", compute_dtype=torch.float32) for _ in range(2)
        )

    def forward(self, x):
        return self.second(self.first(x).tanh())


def test_over_a_4_bit_base_too():
    x = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(1))
    found = []
    for quick in (True, False):
        model = get_peft_model(
            Quantized().to("cpu"), LoraConfig(r=4, lora_alpha=8, target_modules=["first", "second"])
        )
        generator = torch.Generator().manual_seed(2)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        if quick:
            speed_up(model)
        value = model(x).square().sum()
        value.backward()
        found.append(
            [
                value.detach(),
                *(parameter.grad for name, parameter in model.named_parameters() if "lora_" in name),
            ]
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("target", "found", "offered"),
    [
        (["q_proj", "v_projj"], "no linear layer of the base is called 'v_projj'", "Did you mean 'v_proj'?"),
        ("nonsense", "no linear layer of the base is called 'nonsense'", "Known: down_proj, gate_proj"),
        ([], "empty list", "Known: down_proj, gate_proj"),
        (["lm_head"], "'lm_head' is the output head", "all-linear, or names of linear layers"),
        (["mlp"], "no linear layer of the base is called 'mlp'", "all-linear"),
        (["q_proj", "embed_tokens"], "no linear layer of the base is called 'embed_tokens'", "all-linear"),
    ],
)
def test_a_target_that_trains_nothing_is_refused(target, found, offered):
    with pytest.raises(UserError, match=found) as error:
        check_target(tiny_base().model, target)
    assert error.value.where == "model.lora.target"
    assert offered in str(error.value)
    assert "lm_head" not in (error.value.hint or "")


@pytest.mark.parametrize(
    ("target", "layers"),
    [("q_proj", 2), (["q_proj", "mlp.up_proj"], 4), ("layers.0.self_attn.q_proj", 1), ("all-linear", 14)],
)
def test_a_target_is_all_linear_layers_or_names_in_whole_or_by_their_end(target, layers):
    base = tiny_base()
    check_target(base.model, target)
    roles = Roles(base, recipe.Lora(r=4, target=target), seed=0)
    roles.add("policy", trainable=True)
    assert len(roles.parameters("policy")) == 2 * layers


@pytest.mark.parametrize(
    ("lora", "key", "words"),
    [
        ({"rank_pattern": {"q_projj": 2}}, "rank_pattern", "Did you mean 'q_proj'"),
        ({"alpha_pattern": {"mlp.up_prj": 2}}, "alpha_pattern", "Did you mean 'mlp.up_proj'"),
        (
            {"rank_pattern": {"layers.7.mlp.up_proj": 2}},
            "rank_pattern",
            "Did you mean 'layers.[01].mlp.up_proj'",
        ),
        ({"rank_pattern": {"k_proj": 2}, "target": ["q_proj"]}, "rank_pattern", "Did you mean 'q_proj'"),
        ({"rank_pattern": {"lm_head": 2}}, "rank_pattern", "Did you mean"),
    ],
)
def test_a_pattern_that_fits_no_adapted_layer_is_refused_with_the_nearest(lora, key, words):
    with pytest.raises(UserError, match="no adapted layer is called") as error:
        check_adapter(tiny_base().model, recipe.Lora(**lora))
    assert error.value.where == f"model.lora.{key}"
    assert re.search(words, error.value.hint or "")


def test_patterns_set_ranks_and_scales_of_the_layers_that_they_fit():
    base = tiny_base()
    lora = recipe.Lora(
        r=4, alpha=8, rank_pattern={"q_proj": 2}, alpha_pattern={r"layers\.1\..*": 3}, use_rslora=True
    )
    check_adapter(base.model, lora)
    roles = Roles(base, lora, seed=0)
    roles.add("policy", trainable=True)
    layers = dict(adapted(base.model, "policy"))
    for path, layer in layers.items():
        rank, alpha = 2 if path.endswith("q_proj") else 4, 3 if "layers.1." in path else 8
        assert layer.lora_A["policy"].weight.shape[0] == rank
        assert layer.scaling["policy"] == pytest.approx(alpha / rank**0.5)
    assert len(layers) == 14


@pytest.mark.parametrize("kind", [nn.Linear, Conv1D])
@pytest.mark.parametrize("dora", [False, True])
def test_the_weight_of_an_adapted_layer_is_that_by_which_it_multiplies(kind, dora):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=False) if kind is nn.Linear else Conv1D(5, 6))
    with peft_quiet():
        model = get_peft_model(model, LoraConfig(r=2, lora_alpha=6, target_modules=["0"], use_dora=dora))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.add_(0.3 * torch.randn(parameter.shape))
    layer = model.base_model.model[0]
    with torch.no_grad():
        weight = adapted_weight(layer, "default", layer.get_base_layer().weight)
        multiply = weight if kind is Conv1D else weight.T
        torch.testing.assert_close(layer(torch.eye(6)), multiply, atol=1e-5, rtol=1e-5)
        own = layer.get_base_layer().weight
        assert (weight - own).abs().max() > 0.1


def test_dora_gives_each_row_of_the_weight_its_trained_length_with_the_gradient_of_its_paper():
    """y = m ÷ ‖V‖ · V·x with V = W + s·B·A, ‖V‖ counts as a constant (Liu et al., 2024, 4.3)."""
    torch.manual_seed(0)
    model = get_peft_model(
        nn.Sequential(nn.Linear(6, 5, bias=False)),
        LoraConfig(r=2, lora_alpha=6, target_modules=["0"], use_dora=True),
    )
    layer = model.base_model.model[0]
    trained = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
    trained.append(layer.lora_magnitude_vector["default"].weight)
    for parameter in trained:
        parameter.data.add_(0.3 * torch.randn(parameter.shape))
    speed_up(model)
    down, up, lengths = (parameter.detach().clone().requires_grad_() for parameter in trained)
    direction = layer.get_base_layer().weight + 6 / 2 * up @ down
    x = torch.randn(7, 6)
    expected = x @ (lengths / direction.detach().norm(dim=1))[:, None].mul(direction).T
    found = model(x)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    found.sin().sum().backward()
    expected.sin().sum().backward()
    for parameter, other in zip(trained, (down, up, lengths), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, atol=1e-5, rtol=1e-4)
