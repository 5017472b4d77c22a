"""The gradient of a step: of the whole step at once, of several losses, however the step is cut."""

import pytest
import torch
from tiny_models import shake, tiny_roles
from tiny_training import TinyTerms
from whole_steps import GROUPS, Contrast, Entropic, Several, gradient_of, trainer

from alignkit import Batch, Loss, Objective, Preferences
from alignkit.recipe import Training
from alignkit.training.batches import join
from alignkit.training.differentiating import seed_dropout


@pytest.mark.parametrize("objective", [Contrast(), Entropic()], ids=["contrast", "entropic"])
def test_a_loss_of_the_whole_step_does_not_depend_on_how_it_is_cut(objective, tmp_path):
    outcomes = [
        gradient_of(trainer(objective, tmp_path / str(size), micro_batch_tokens=size))
        for size in (10_000, 60, 1)
    ]
    whole, metrics = outcomes[0]
    assert max(gradient.abs().max() for gradient in whole.values()) > 1e-3
    for other, reported in outcomes[1:]:
        for name, gradient in whole.items():
            torch.testing.assert_close(other[name], gradient, atol=1e-5, rtol=1e-5)
        for name in ("loss", "spread"):
            if name in metrics:
                assert reported[name] == pytest.approx(metrics[name], abs=1e-5)


def test_a_micro_batch_alone_would_give_another_gradient(tmp_path):
    class Cut(Contrast):
        scope = "micro-batch"

    whole, _ = gradient_of(trainer(Contrast(), tmp_path / "a", micro_batch_tokens=60))
    parts, _ = gradient_of(trainer(Cut(), tmp_path / "b", micro_batch_tokens=60))
    assert any(not torch.allclose(parts[name], whole[name], atol=1e-4) for name in whole)


def test_with_dropout_the_signals_are_the_same_when_they_are_computed_again(tmp_path):
    """By hand: each part's signals under its own seed, joined, and one plain backward pass."""
    one = trainer(Contrast(), tmp_path, dropout=0.5, micro_batch_tokens=60)
    one.open()
    (term,) = one.terms
    batches = one._batches(term.objective)
    chosen = batches.choose(term.source, term.source.indices(0), 0)
    parts = chosen.parts(60)
    assert len(parts) > 1
    made = []
    for place, part in enumerate(parts):
        seed_dropout(one.seed, 0, place)
        made.append(batches.make(chosen, part))
    loss = term.objective.loss(join(made)).terms.mean()
    expected = torch.autograd.grad(loss, list(one.parameters.values()))
    found, _ = gradient_of(one)
    for gradient, wanted in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-4)


def test_held_out_groups_are_measured_as_many_at_a_time_as_a_step_has(tmp_path):
    seen = []

    class Counting(Contrast):
        def loss(self, batch: Batch) -> Loss:
            seen.append(len(batch.prompts))
            return super().loss(batch)

    one = trainer(Counting(), tmp_path, held_out=GROUPS[:7], micro_batch_tokens=1)
    one.open()
    one.evaluate()
    assert seen == [5, 2]


def test_several_losses_are_divided_each_by_its_own_weight(tmp_path):
    one = trainer(Several(), tmp_path / "whole", micro_batch_tokens=10_000)
    (term,) = one.terms
    one.open()
    batches = one._batches(term.objective)
    chosen = batches.choose(term.source, term.source.indices(0), 0)
    batch = batches.make(chosen, range(len(chosen.groups)))
    first, second = term.objective.loss(batch)
    expected = (first.terms * first.weight).sum() / first.weight.sum() + 0.3 * (
        second.terms * second.weight
    ).sum() / second.weight.sum()
    grads = torch.autograd.grad(expected, list(one.parameters.values()))
    for size in (10_000, 60, 1):
        found, metrics = gradient_of(trainer(Several(), tmp_path / str(size), micro_batch_tokens=size))
        assert metrics["loss"] == pytest.approx(expected.item(), abs=1e-5)
        assert {"best", "surprise"} <= metrics.keys()
        for gradient, wanted in zip(found.values(), grads, strict=True):
            torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-4)


class Policy(Objective):
    """Trains the policy, with a gradient of zero."""

    name = "policy"
    data = Preferences

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.logps * 0, batch.mask.float())


class Critic(Objective):
    """Trains a value from what the policy gives, which it only reads."""

    name = "critic"
    data = Preferences
    trains = {"value"}
    reads = {"policy"}

    def loss(self, batch: Batch) -> Loss:
        return Loss((batch.values - batch.logps).square(), batch.mask.float())


class Seeing(Critic):
    """Reads the policy's distributions too."""

    over_vocabulary = {"certainty": lambda policy: (policy.exp() * policy).sum(-1)}

    def loss(self, batch: Batch) -> Loss:
        return Loss((batch.values - batch.logps - batch.certainty).square(), batch.mask.float())


class WholeCritic(Critic):
    scope = "step"


@pytest.mark.parametrize("critic", [Critic(), Seeing(), WholeCritic()], ids=["critic", "seeing", "whole"])
@pytest.mark.parametrize("size", [10_000, 60])
def test_a_role_that_an_objective_only_reads_gets_no_gradient_of_it_in_a_mixture(critic, size, tmp_path):
    roles = tiny_roles()
    for name in ("policy", "value"):
        roles.add(name, trainable=True)
        shake(roles, name)
    terms = TinyTerms(roles, Training(batch_size=5, micro_batch_tokens=size, max_grad_norm=1e9), tmp_path)
    one = terms.trainer(terms.fixed(Policy(), GROUPS), terms.fixed(critic, GROUPS))
    gradients, _ = gradient_of(one)
    moved = {name: gradient.abs().max() > 0 for name, gradient in gradients.items()}
    assert not any(moved[name] for name in moved if name.startswith("policy/"))
    assert any(moved[name] for name in moved if name.startswith("value/"))


class First(Contrast):
    """Has something to learn from in the first step alone."""

    def loss(self, batch: Batch) -> Loss:
        loss = super().loss(batch)
        return Loss(loss.terms, torch.full_like(loss.terms, float(batch.step == 0)))


@pytest.mark.parametrize("size", [10_000, 60])
def test_a_whole_step_whose_weights_are_all_zero_changes_nothing(size, tmp_path):
    one = trainer(First(), tmp_path, micro_batch_tokens=size, steps=2, warmup=0)
    one.open()
    one.step(0)
    before = {name: parameter.detach().clone() for name, parameter in one.parameters.items()}
    assert one.step(1).metrics["grad_norm"] == 0
    assert one.updates == 1
    assert all(torch.equal(before[name], parameter) for name, parameter in one.parameters.items())
