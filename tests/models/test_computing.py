"""Tree rows, flat rows and a plain forward of each prompt + completion are the same computation, and so is
that of many groups at once.
"""

import random
from dataclasses import replace

import pytest
import torch
from tiny_models import ARCHITECTURES, plain_logps, random_groups, shake, tiny_base, tiny_model, tiny_roles

from alignkit import recipe
from alignkit.data.rows import batch_of, flat_rows, tree_rows
from alignkit.models import computing
from alignkit.models.computing import compute_signals, forward_budget, role_signals
from alignkit.models.roles import Roles
from alignkit.recipe import Training

ROLES = ("policy", "reference", "reward", "value")


def all_roles(**options):
    """Every kind of role, all trained but the reference, which is the bare base."""
    roles = tiny_roles(**options)
    for name in ROLES:
        roles.add(name, trainable=name != "reference")
        if name != "reference":
            shake(roles, name)
    return roles


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
            signal = role_signals(roles, "policy", rows)["logps"]
            logps = signal[rows.batch.mask]
        (logps * torch.linspace(-1, 2, len(logps))).sum().backward()
        outcomes.append((logps.detach(), {k: p.grad for k, p in roles.parameters("policy").items()}))
    (reference, gradients), *others = outcomes[2], outcomes[0], outcomes[1]
    assert all(g.abs().max() > 0 for g in gradients.values())
    for logps, grads in others:
        torch.testing.assert_close(logps, reference, atol=1e-4, rtol=0)
        for key, gradient in gradients.items():
            torch.testing.assert_close(grads[key], gradient, atol=1e-4, rtol=1e-5)


def masked(groups, rng):
    """The groups with a turn in each completion that is not the policy's: any tokens but the last."""
    masks = (
        tuple((*(rng.random() < 0.5 for _ in completion[1:]), True) for completion in group.completions)
        for group in groups
    )
    return [replace(group, masks=mask) for group, mask in zip(groups, masks, strict=True)]


@pytest.mark.parametrize("layout", [tree_rows, flat_rows])
def test_tokens_outside_the_mask_are_read_and_not_learned_from(layout, rng):
    groups = masked(random_groups(rng), rng)
    learned = torch.tensor([owned for group in groups for mask in group.masks for owned in mask])
    assert 0 < learned.sum() < len(learned)
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    rows = layout(groups)
    logps = role_signals(roles, "policy", rows)["logps"]
    logps.sum().backward()
    gradients = {name: p.grad.clone() for name, p in roles.parameters("policy").items()}
    roles.base.model.zero_grad()
    roles.base.model.set_attn_implementation("eager")
    plain = plain_logps(roles.base.model, groups)
    torch.testing.assert_close(logps[rows.batch.mask], plain[learned], atol=1e-4, rtol=0)
    assert not logps[~rows.batch.mask].any()
    plain[learned].sum().backward()
    for name, parameter in roles.parameters("policy").items():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-4, rtol=1e-5)


def test_scores_and_cached_signals_are_the_same_with_a_mask_where_it_is_true(rng):
    groups = random_groups(rng)
    some = masked(groups, rng)
    roles = all_roles()
    whole = compute_signals(roles, groups, ROLES, budget=40, entropy=True)
    part = compute_signals(roles, some, ROLES, budget=40, entropy=True)
    mask = batch_of(some)[0].mask
    for name, value in whole.items():
        torch.testing.assert_close(part[name], value * mask if value.ndim == 2 else value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", [tree_rows, flat_rows])
def test_scores_sit_on_the_last_token_and_values_before_each_token(layout, rng):
    groups = random_groups(rng)
    roles = tiny_roles()
    for name in ("reward", "value"):
        roles.add(name, trainable=True)
        shake(roles, name)
    rows = layout(groups)
    scores = role_signals(roles, "reward", rows)["scores"]
    values = role_signals(roles, "value", rows)["values"]
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


def test_the_reference_of_a_policy_that_started_from_none_is_the_base(rng):
    groups = random_groups(rng)
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    shake(roles, "policy")
    rows = tree_rows(groups)
    found = role_signals(roles, "reference", rows)["reference_logps"][rows.batch.mask]
    torch.testing.assert_close(found, plain_logps(tiny_model(), groups), atol=1e-4, rtol=0)


def test_the_entropy_is_that_of_the_policys_distributions_where_it_is_asked_for(rng):
    groups, roles = random_groups(rng), all_roles()
    rows = tree_rows(groups)
    assert role_signals(roles, "policy", rows).keys() == {"logps"}
    assert role_signals(roles, "reference", rows, entropy=True).keys() == {"reference_logps"}
    found = role_signals(roles, "policy", rows, entropy=True)["entropy"]
    expected = []
    with roles.active("policy") as model:
        for group in groups:
            for completion in group.completions:
                ids = torch.tensor([group.prompt + completion])
                log_p = model(ids).logits[0, len(group.prompt) - 1 : -1].log_softmax(-1)
                expected.append(-(log_p.exp() * log_p).sum(-1))
    torch.testing.assert_close(found[rows.batch.mask], torch.cat(expected), atol=1e-4, rtol=0)
    assert not found[~rows.batch.mask].any()


@pytest.mark.parametrize("trees", [True, False])
@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_the_signals_of_many_groups_are_those_of_each_alone(trees, budget):
    groups = random_groups(random.Random(5), count=9)
    roles = all_roles(trees=trees)
    longest = max(len(completion) for group in groups for completion in group.completions)
    found = compute_signals(roles, groups, ROLES, budget, entropy=True)
    assert found.keys() == {"logps", "entropy", "reference_logps", "scores", "values"}
    place = 0
    for group in groups:
        rows, count = roles.rows([group]), len(group.completions)
        for name in ROLES:
            for signal, alone in role_signals(roles, name, rows, entropy=True).items():
                own = found[signal][place : place + count]
                if alone.dim() == 2:
                    assert own.shape == (count, longest)
                    assert not own[:, alone.shape[1] :].any()
                    assert not own[:, : alone.shape[1]][~rows.batch.mask].any()
                    own = own[:, : alone.shape[1]]
                assert alone.abs().max() > 0
                torch.testing.assert_close(own, alone.detach(), atol=1e-4, rtol=0)
        place += count
    assert all(len(values) == place and values.dtype == torch.float32 for values in found.values())


def test_the_signals_of_many_groups_have_no_gradient_and_no_dropout(rng):
    roles = Roles(tiny_base(), recipe.Lora(r=4, dropout=0.5), seed=0)
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    groups = random_groups(rng)
    first, second = (compute_signals(roles, groups, ["policy"], 50)["logps"] for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
    rows = roles.rows(groups)
    first, second = (role_signals(roles, "policy", rows)["logps"] for _ in range(2))
    assert not torch.equal(first, second)


def test_no_groups_have_no_signals():
    found = compute_signals(all_roles(), [], ["policy", "reward"], 50)
    assert {signal: len(values) for signal, values in found.items()} == {"logps": 0, "scores": 0}


def test_no_pass_holds_more_tokens_than_the_budget(monkeypatch, rng):
    groups, roles, held = random_groups(rng, count=8), tiny_roles(), []
    roles.add("reference", trainable=False)
    computed = computing.role_signals
    monkeypatch.setattr(
        computing,
        "role_signals",
        lambda roles, name, rows, **more: (
            held.append(rows.input_ids.numel()) or computed(roles, name, rows, **more)
        ),
    )
    budget = max(group.tokens for group in groups)
    compute_signals(roles, groups, ["reference"], budget)
    assert len(held) > 1
    assert max(held) <= budget
    assert sum(held) == sum(group.tokens for group in groups)


def test_a_pass_without_gradient_holds_twice_the_tokens_of_a_training_micro_batch():
    assert forward_budget(100) == 200
    assert forward_budget() == 2 * Training().micro_batch_tokens
