"""The quick computation of LoRA layers is PEFT's own, values and gradients."""

import random

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, get_peft_model
from tiny_models import random_groups, shake, tiny_base
from torch import nn

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models import roles as roles_module
from alignkit.models.computing import role_signals
from alignkit.models.lora import check_target, speed_up
from alignkit.models.roles import Roles


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


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_signals_and_gradients_of_every_role_are_those_of_peft(dropout, monkeypatch):
    found, expected = (outcome(monkeypatch, quick, dropout=dropout) for quick in (True, False))
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
