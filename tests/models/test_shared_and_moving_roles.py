"""Roles that share an adapter, that follow another role, and that read under another prompt."""

import random
from dataclasses import replace

import pytest
import torch
from tiny_models import Numbers, random_groups, shake, tiny_roles

from alignkit import Group
from alignkit.models import computing
from alignkit.models.computing import compute_signals, role_signals
from alignkit.models.roles import Following

GROUPS = random_groups(random.Random(3))


def test_a_role_that_shares_an_adapter_is_computed_in_the_same_pass(monkeypatch):
    roles = tiny_roles()
    roles.add("reward", trainable=True)
    roles.add("writer", kind="language-model", trainable=True, shares="reward")
    roles.add("policy", trainable=True)
    shake(roles, "reward")
    shake(roles, "policy")
    with torch.no_grad():
        for key, parameter in roles.parameters("policy").items():
            parameter.copy_(roles.parameters("reward")[key])
    rows = roles.rows(GROUPS)
    expected = role_signals(roles, "policy", rows)["logps"]
    passes, run = [], computing.hidden_states
    monkeypatch.setattr(computing, "hidden_states", lambda *args: passes.append(1) or run(*args))
    found = role_signals(roles, ["reward", "writer"], rows)
    assert len(passes) == 1
    assert found.keys() == {"scores", "writer_logps"}
    torch.testing.assert_close(found["writer_logps"], expected)


def test_a_shared_adapter_gets_the_gradient_of_both_signals_and_is_listed_once():
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("value", trainable=True, shares="policy")
    assert [name for name in roles.trainable() if name.startswith("value/")] == [
        "value/base_model.model.score.weight"
    ]
    shake(roles, "policy")
    shake(roles, "value")
    rows = roles.rows(GROUPS)
    found = role_signals(roles, ["policy", "value"], rows)
    both = torch.autograd.grad(found["logps"].sum() + found["values"].sum(), list(roles.trainable().values()))
    apart = [
        torch.autograd.grad(
            role_signals(roles, name, rows)[signal].sum(), list(roles.trainable().values()), allow_unused=True
        )
        for name, signal in (("policy", "logps"), ("value", "values"))
    ]
    for one, *others in zip(both, *apart, strict=True):
        torch.testing.assert_close(one, sum(x for x in others if x is not None), atol=1e-5, rtol=1e-4)


def test_a_shared_head_is_saved_with_the_adapter_and_loaded_alone(tmp_path, monkeypatch):
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("value", trainable=True, shares="policy")
    shake(roles, "policy")
    shake(roles, "value")
    rows = roles.rows(GROUPS)
    expected = role_signals(roles, "value", rows)["values"]
    monkeypatch.setattr(Numbers, "save_pretrained", lambda self, folder: None, raising=False)
    roles.save("value", tmp_path / "value")
    again = tiny_roles()
    again.add("value", trainable=False, start=tmp_path / "value")
    torch.testing.assert_close(role_signals(again, "value", rows)["values"], expected)


@pytest.mark.parametrize(("rate", "every"), [(0.25, 1), (1.0, 2), (0.5, 3)])
def test_a_role_that_follows_obeys_the_recurrence(rate, every):
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False, following=Following("policy", rate, every))
    policy, reference = roles.parameters("policy"), roles.following()
    assert {f"reference/{key}" for key in policy} == reference.keys()
    for key, parameter in policy.items():  # both begin alike
        assert torch.equal(parameter, reference[f"reference/{key}"])
    by_hand = {key: parameter.detach().clone() for key, parameter in policy.items()}
    for step in range(1, 8):
        shake(roles, "policy", seed=step)
        roles.follow(step)
        if step % every == 0:
            by_hand = {key: (1 - rate) * old + rate * policy[key].detach() for key, old in by_hand.items()}
        for key, expected in by_hand.items():
            torch.testing.assert_close(reference[f"reference/{key}"].data, expected, atol=1e-6, rtol=1e-6)
    assert not any(parameter.requires_grad for parameter in reference.values())


def test_a_role_reads_the_completions_under_another_prompt():
    roles = tiny_roles()
    roles.add("policy", trainable=False)
    roles.add("teacher", kind="language-model", trainable=False, prompt="hint")
    groups = [replace(group, prompts={"hint": [5, 6, 7, *group.prompt]}) for group in GROUPS]
    hinted = [Group([5, 6, 7, *group.prompt], group.completions) for group in GROUPS]
    found = compute_signals(roles, groups, ["policy", "teacher"], 50)
    alone = tiny_roles()
    alone.add("policy", trainable=False)
    torch.testing.assert_close(
        found["teacher_logps"], compute_signals(alone, hinted, ["policy"], 50)["logps"]
    )
    torch.testing.assert_close(found["logps"], compute_signals(alone, GROUPS, ["policy"], 50)["logps"])
    assert not torch.allclose(found["teacher_logps"], found["logps"], atol=1e-2)


def test_a_head_and_a_shared_adapter_learn_only_through_the_roles_that_are_named():
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("value", trainable=True, shares="policy")
    shake(roles, "policy")
    shake(roles, "value")
    rows = roles.rows(GROUPS)
    found = role_signals(roles, ["policy", "value"], rows, trained={"policy"})
    assert found["logps"].requires_grad
    assert not found["values"].requires_grad
    both = role_signals(roles, ["policy", "value"], rows)
    for name in ("logps", "values"):
        assert torch.equal(found[name], both[name])
    assert both["values"].requires_grad


def test_only_the_prompts_of_the_roles_that_are_computed_are_laid_out():
    roles = tiny_roles()
    roles.add("policy", trainable=False)
    roles.add("teacher", kind="language-model", trainable=False, prompt="hint")
    assert compute_signals(roles, GROUPS, ["policy"], 50).keys() == {"logps"}  # no group has a hint
    groups = [replace(group, prompts={"hint": [5, 6, *group.prompt]}) for group in GROUPS]
    assert not roles.rows(groups, {"policy"}).under
    both = {"d": lambda policy, teacher: (policy.exp() * (policy - teacher)).sum(-1)}
    found = compute_signals(roles, groups, ["policy"], 50, functions=both)
    assert found["d"].abs().max() > 0
