"""Functions of the roles' distributions: values and gradients against full logits in plain torch."""

import random

import pytest
import torch
from tiny_bases import load_tiny, save_base, word_groups
from tiny_models import random_groups, shake, tiny_roles

from alignkit import UserError, recipe
from alignkit.models import vocabulary
from alignkit.models.computing import role_signals
from alignkit.models.logps import Head
from alignkit.models.roles import Roles
from alignkit.models.vocabulary import over_vocabulary

BIAS = torch.randn(31, generator=torch.Generator().manual_seed(2))
HEADS = {"plain": {}, "biased": {"bias": BIAS}, "scaled": {"scale": 0.3}, "all": {"bias": BIAS, "cap": 2.0}}


def kl(policy, reference):
    return (policy.exp() * (policy - reference)).sum(-1)


def jensen_shannon(policy, reference, beta=0.5):
    mixture = torch.logsumexp(
        torch.stack([policy + torch.tensor(beta).log(), reference + torch.tensor(1 - beta).log()]), 0
    )
    return beta * (policy.exp() * (policy - mixture)).sum(-1) + (1 - beta) * (
        reference.exp() * (reference - mixture)
    ).sum(-1)


def top_mass(policy):
    return policy.topk(3).values.exp().sum(-1)


FUNCTIONS = {"divergence": kl, "jsd": jensen_shannon, "mass": top_mass}


def logits(hidden, head):
    found = head.scale * (hidden @ head.weight.T) + (0 if head.bias is None else head.scale * head.bias)
    return head.cap * (found / head.cap).tanh() if head.cap else found


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_values_and_gradients_equal_those_of_full_logits(rows, kind, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    head = Head(torch.randn(31, 8, generator=generator), **HEADS[kind])
    hidden = {
        name: torch.randn(10, 8, generator=generator, requires_grad=True) for name in ("policy", "reference")
    }
    upstream = torch.randn(3, 10, generator=generator)
    monkeypatch.setitem(vocabulary.CHUNK_BYTES, "cpu", rows * 4 * 2 * 31)

    found = over_vocabulary(FUNCTIONS, hidden, head)
    grads = torch.autograd.grad(
        sum((u * found[name]).sum() for u, name in zip(upstream, FUNCTIONS, strict=True)), hidden.values()
    )

    plain = {name: logits(one, head).log_softmax(-1) for name, one in hidden.items()}
    expected = {
        "divergence": kl(**plain),
        "jsd": jensen_shannon(**plain),
        "mass": top_mass(plain["policy"]),
    }
    wanted = torch.autograd.grad(
        sum((u * expected[name]).sum() for u, name in zip(upstream, FUNCTIONS, strict=True)), hidden.values()
    )
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5)
    for one, other in zip(grads, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_role_without_gradient_gets_none_and_a_computation_without_gradient_keeps_nothing():
    generator = torch.Generator().manual_seed(0)
    head = Head(torch.randn(31, 8, generator=generator))
    policy = torch.randn(10, 8, generator=generator, requires_grad=True)
    reference = torch.randn(10, 8, generator=generator)
    value = over_vocabulary({"d": kl}, {"policy": policy, "reference": reference}, head)["d"]
    (grad,) = torch.autograd.grad(value.sum(), policy)
    assert grad.abs().max() > 0.01
    with torch.no_grad():
        alone = over_vocabulary({"d": kl}, {"policy": policy, "reference": reference}, head)["d"]
    assert not alone.requires_grad
    torch.testing.assert_close(alone, value.detach())


def plain_distributions(model, groups):
    """log p over the vocabulary at each completion token, by plain forward passes, (M, V)."""
    found = []
    for group in groups:
        for completion in group.completions:
            ids = torch.tensor([group.prompt + completion])
            found.append(model(ids).logits[0, len(group.prompt) - 1 : -1].float().log_softmax(-1))
    return torch.cat(found)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("gemma2", {"final_logit_softcapping": 2.0, "attn_logit_softcapping": None}),
    ],
)
def test_in_whole_models_values_and_gradients_are_those_of_full_logits(architecture, options, tmp_path):
    base = load_tiny(save_base(tmp_path / "base", architecture, **options))
    groups = word_groups(random.Random(0))
    roles = Roles(base, recipe.Lora(r=4, alpha=8), seed=0)
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    shake(roles, "policy")
    parameters = list(roles.parameters("policy").values())
    rows = roles.rows(groups)
    found = role_signals(roles, ["policy"], rows, functions={"divergence": kl})
    mask = rows.batch.mask
    assert not found["divergence"][~mask].any()
    upstream = torch.linspace(-1, 1, int(mask.sum()))
    grads = torch.autograd.grad((found["divergence"][mask] * upstream).sum(), parameters)

    with roles.active("reference") as model, torch.no_grad():
        reference = plain_distributions(model, groups)
    with roles.active("policy") as model:
        policy = plain_distributions(model, groups)
        expected = kl(policy, reference)
        wanted = torch.autograd.grad((expected * upstream).sum(), parameters)
    torch.testing.assert_close(found["divergence"][mask], expected, atol=1e-5, rtol=1e-4)
    assert max(grad.abs().max() for grad in wanted) > 1e-3
    for one, other in zip(grads, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_the_signals_beside_are_computed_in_the_same_passes(monkeypatch):
    from alignkit.models import computing

    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    shake(roles, "policy")
    rows = roles.rows(random_groups(random.Random(1)))
    alone = {
        **role_signals(roles, "policy", rows),
        **role_signals(roles, "reference", rows),
    }
    passes, run = [], computing.hidden_states
    monkeypatch.setattr(computing, "hidden_states", lambda *args: passes.append(1) or run(*args))
    found = role_signals(roles, ["policy", "reference"], rows, functions={"d": kl})
    assert len(passes) == 2
    assert found.keys() == {"logps", "reference_logps", "d"}
    for name, value in alone.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda policy: policy, r"returned \(4, 31\) for \(4,\) tokens"),
        (lambda policy: policy.nonsense, r"failed: AttributeError.*"),
        (lambda policy: 1.0, "returned float"),
    ],
)
def test_a_function_that_is_wrong_is_named(function, told):
    hidden = {"policy": torch.ones(4, 8)}
    with pytest.raises(UserError, match=f"'broken' of `over_vocabulary` {told}"):
        over_vocabulary({"broken": function}, hidden, Head(torch.ones(31, 8)))


def test_no_more_than_a_chunk_of_distributions_is_held(monkeypatch):
    """The largest tensor that a function sees has the chunk's size, whatever the number of tokens."""
    sizes = []

    def seen(policy):
        sizes.append(policy.numel())
        return policy.amax(-1)

    monkeypatch.setitem(vocabulary.CHUNK_BYTES, "cpu", 4 * 31 * 7)
    over_vocabulary({"seen": seen}, {"policy": torch.ones(100, 8)}, Head(torch.ones(31, 8)))
    assert max(sizes) == 7 * 31
    assert sum(sizes) == 100 * 31
