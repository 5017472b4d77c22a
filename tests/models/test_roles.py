"""Roles over one base: which is active and which are trained, and that the base stays as it was."""

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import SIZES, random_groups, shake, tiny_base, tiny_roles
from transformers import AutoModelForCausalLM, MixtralConfig

from alignkit import recipe
from alignkit.data.rows import flat_rows, tree_rows
from alignkit.errors import UserError
from alignkit.models.base import Base
from alignkit.models.computing import role_signals
from alignkit.models.roles import Roles


def test_rows_are_laid_out_as_the_base_can_take_them(rng):
    groups = random_groups(rng)
    for trees, layout in ((True, tree_rows), (False, flat_rows)):
        found, expected = tiny_roles(trees=trees).rows(groups), layout(groups)
        assert torch.equal(found.input_ids, expected.input_ids)
        assert torch.equal(found.predicting, expected.predicting)
        assert (found.trees is not None) == trees


def test_fresh_roles_are_a_function_of_the_seed():
    first, second = tiny_roles(), tiny_roles()
    for roles in (first, second):
        torch.rand(3)
        roles.add("reward", trainable=True)
    assert all(torch.equal(p, second.parameters("reward")[k]) for k, p in first.parameters("reward").items())


def test_a_role_without_adapter_is_the_base_beside_one_that_has_one(rng):
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    rows = roles.rows(random_groups(rng))
    before = role_signals(roles, "reference", rows)["reference_logps"]
    shake(roles, "policy")
    after = role_signals(roles, "reference", rows)["reference_logps"]
    torch.testing.assert_close(after, before, atol=0, rtol=0)
    assert not torch.allclose(role_signals(roles, "policy", rows)["logps"], before)


def test_a_role_of_another_name_is_of_the_kind_that_is_given(rng):
    roles = tiny_roles()
    for name in ("reward-a", "reward-b"):
        roles.add(name, kind="reward", trainable=True)
    shake(roles, "reward-a")
    rows = roles.rows(random_groups(rng))
    scores = [role_signals(roles, name, rows)[f"{name}_scores"] for name in ("reward-a", "reward-b")]
    assert scores[0].abs().max() > 0
    assert not scores[1].any(), "its head is fresh"


def test_every_role_keeps_its_gradient_when_roles_are_computed_together(rng):
    roles = tiny_roles()
    for name in ("policy", "reward"):
        roles.add(name, trainable=True)
        shake(roles, name)
    rows = tree_rows(random_groups(rng))
    logps, scores = (
        role_signals(roles, "policy", rows)["logps"],
        role_signals(roles, "reward", rows)["scores"],
    )
    (logps.sum() + scores.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in roles.trainable().values())


@pytest.mark.parametrize("lora", [{}, {"use_dora": True}, {"init_lora_weights": "pissa"}])
def test_recomputed_activations_give_the_same_gradients_for_every_role(rng, lora):
    groups = random_groups(rng)
    gradients = []
    for checkpointing in (False, True):
        roles = Roles(tiny_base(checkpointing=checkpointing), recipe.Lora(r=4, alpha=8, **lora), seed=0)
        for name in ("policy", "value"):
            roles.add(name, trainable=True)
            shake(roles, name)
        rows = tree_rows(groups)
        logps, values = (
            role_signals(roles, "policy", rows)["logps"],
            role_signals(roles, "value", rows)["values"],
        )
        (logps.sum() + values.sum()).backward()
        gradients.append({key: parameter.grad for key, parameter in roles.trainable().items()})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, atol=1e-5, rtol=1e-5)


def test_dropout_is_off_where_asked_and_always_in_a_frozen_role(tmp_path, rng):
    roles = Roles(tiny_base(), recipe.Lora(r=4, alpha=8, dropout=0.5), seed=0)
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    save_file(roles.state("policy"), tmp_path / "adapter_model.safetensors")
    roles.model.peft_config["policy"].save_pretrained(tmp_path)
    roles.add("reference", trainable=False, start=tmp_path)
    rows = roles.rows(random_groups(rng))

    def twice(name):
        return [next(iter(role_signals(roles, name, rows).values())) for _ in range(2)]

    assert not torch.equal(*twice("policy"))
    assert torch.equal(*twice("reference"))
    with roles.without_dropout():
        assert torch.equal(*twice("policy"))
        assert torch.equal(twice("policy")[0], twice("reference")[0])
    assert not torch.equal(*twice("policy"))


def test_the_base_is_as_it_was_when_the_roles_are_gone():
    base = tiny_roles().base
    ids = torch.arange(3, 20)[None]
    before = base.model(ids).logits
    for _ in range(2):
        with Roles(base, recipe.Lora(r=4), seed=0) as roles:
            roles.add("policy", trainable=True)
            shake(roles, "policy")
    assert torch.equal(base.model(ids).logits, before)
    assert not [name for name, _ in base.model.named_modules() if "lora" in name]


def test_what_peft_refuses_is_told_as_the_recipes_mistake():
    experts = MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2)
    model = AutoModelForCausalLM.from_config(experts, dtype=torch.float32).requires_grad_(False)
    base = Base(model, None, torch.float32, torch.device("cpu"), "the test says so")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"model\.lora: PEFT refuses this adapter: .*lora_dropout") as error:
        Roles(base, recipe.Lora(r=4, dropout=0.1), seed=0).add("policy", trainable=True)
    assert "\n" not in error.value.message


@pytest.mark.parametrize("name", ["model", "layers", "weight", "base_layer", "lora_A"])
def test_a_role_may_be_called_as_a_module_of_the_base(name):
    alone, roles = tiny_roles(), tiny_roles()
    for one in (alone, roles):
        one.add("policy", trainable=True)
        shake(one, "policy")
    roles.add(name, trainable=True, kind="language-model")
    assert (
        roles.parameters("policy").keys()
        == roles.parameters(name).keys()
        == alone.parameters("policy").keys()
    )
    assert not {*map(id, roles.parameters("policy").values())} & {*map(id, roles.parameters(name).values())}
    saved = roles.state("policy")
    assert saved.keys() == alone.state("policy").keys() == roles.state(name).keys()
    assert all(torch.equal(saved[key], value) for key, value in alone.state("policy").items())
    roles.load(name, saved)
    assert all(torch.equal(saved[key], value) for key, value in roles.state(name).items())
