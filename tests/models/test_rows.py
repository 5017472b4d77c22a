"""Tree rows, flat rows and a plain forward of each prompt + completion are the same computation."""

import random

import pytest
import torch
from tiny_models import ARCHITECTURES, random_groups, shake, tiny_model, tiny_roles

from alignkit import recipe
from alignkit.data.rows import flat_rows, tree_rows
from alignkit.models.roles import Roles


def plain_logps(model, groups):
    """log π of each completion token by one transformers forward for each prompt + completion."""
    found = []
    for group in groups:
        for completion in group.completions:
            ids = torch.tensor([group.prompt + completion])
            logits = model(ids).logits[0, len(group.prompt) - 1 : -1].float()
            found.append(logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None]).squeeze(1))
    return torch.cat(found)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tree_flat_and_plain_rows_agree_in_logps_and_gradients(architecture, seed):
    groups = random_groups(random.Random(seed))
    outcomes = []
    for layout in ("tree", "flat", "plain"):
        roles = tiny_roles(architecture)
        roles.add("policy", trainable=True)
        shake(roles, "policy")
        if layout == "plain":
            roles.base.model.set_attn_implementation("eager")
            logps = plain_logps(roles.base.model, groups)
        else:
            rows = (tree_rows if layout == "tree" else flat_rows)(groups)
            signal = roles.signals("policy", rows)["logps"]
            logps = signal[rows.batch.mask]
        (logps * torch.linspace(-1, 2, len(logps))).sum().backward()
        outcomes.append((logps.detach(), {k: p.grad for k, p in roles.parameters("policy").items()}))
    (reference, gradients), *others = outcomes[2], outcomes[0], outcomes[1]
    assert all(g.abs().max() > 0 for g in gradients.values())
    for logps, grads in others:
        torch.testing.assert_close(logps, reference, atol=1e-4, rtol=0)
        for key, gradient in gradients.items():
            torch.testing.assert_close(grads[key], gradient, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("layout", [tree_rows, flat_rows])
def test_scores_sit_on_the_last_token_and_values_before_each_token(layout, rng):
    groups = random_groups(rng)
    roles = tiny_roles()
    for name in ("reward", "value"):
        roles.add(name, trainable=True)
        shake(roles, name)
    rows = layout(groups)
    scores, values = roles.signals("reward", rows)["scores"], roles.signals("value", rows)["values"]
    index = 0
    for group in groups:
        for completion in group.completions:
            ids = torch.tensor([group.prompt + completion])
            with roles.active("reward") as model:
                hidden = model.base_model(ids).last_hidden_state[0]
            torch.testing.assert_close(
                scores[index], roles.roles["reward"].head(hidden[-1])[0], atol=1e-5, rtol=0
            )
            with roles.active("value") as model:
                hidden = model.base_model(ids).last_hidden_state[0]
            before = roles.roles["value"].head(hidden[len(group.prompt) - 1 : -1])[:, 0]
            torch.testing.assert_close(values[index, : len(completion)], before, atol=1e-5, rtol=0)
            index += 1


def test_the_cost_of_a_group_is_its_prompt_once_and_its_completions():
    groups = random_groups(random.Random(3))
    rows = tree_rows(groups)
    assert rows.input_ids.shape == (1, sum(group.tokens for group in groups))


def test_every_role_keeps_its_gradient_when_roles_are_computed_together(rng):
    roles = tiny_roles()
    for name in ("policy", "reward"):
        roles.add(name, trainable=True)
        shake(roles, name)
    rows = tree_rows(random_groups(rng))
    total = roles.signals("policy", rows)["logps"].sum() + roles.signals("reward", rows)["scores"].sum()
    total.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in roles.trainable().values())


def test_the_reference_of_a_policy_that_started_from_none_is_the_base(rng):
    groups = random_groups(rng)
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    shake(roles, "policy")
    rows = tree_rows(groups)
    found = roles.signals("reference", rows)["reference_logps"][rows.batch.mask]
    torch.testing.assert_close(found, plain_logps(tiny_model(), groups), atol=1e-4, rtol=0)


def test_recomputed_activations_give_the_same_gradients_for_every_role(rng):
    groups = random_groups(rng)
    gradients = []
    for checkpointing in (False, True):
        roles = tiny_roles(checkpointing=checkpointing)
        for name in ("policy", "value"):
            roles.add(name, trainable=True)
            shake(roles, name)
        rows = tree_rows(groups)
        (
            roles.signals("policy", rows)["logps"].sum() + roles.signals("value", rows)["values"].sum()
        ).backward()
        gradients.append({key: parameter.grad for key, parameter in roles.trainable().items()})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, atol=1e-5, rtol=1e-5)


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
