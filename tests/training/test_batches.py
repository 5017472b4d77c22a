"""Batches of an objective: joined, cut, arranged; the whole step at once; several losses."""

import random

import pytest
import torch
from tiny_models import random_groups, shake, tiny_roles
from tiny_training import TinyTerms
from torch.nn.functional import logsigmoid

from alignkit import Average, Batch, Demonstrations, Group, Loss, Objective, Preferences, Prompt, UserError
from alignkit.recipe import Training
from alignkit.training.batches import cut, join
from alignkit.training.differentiating import seed_dropout

GROUPS = [group for group in random_groups(random.Random(5), 30, most=4) if len(group.completions) > 1][:9]


def batch(widths, first, columns=("rank",)):
    mask = torch.arange(max(widths)) < torch.tensor(widths)[:, None]
    tokens = (first + torch.arange(mask.numel()).view(mask.shape)) * mask
    signals = {"logps": tokens.float(), "scores": torch.tensor(widths).float() + first}
    named = {name: torch.full((len(widths),), float(first)) for name in columns}
    group = torch.tensor([0] + [1] * (len(widths) - 1))
    return Batch(tokens, mask, group, named, signals, tuple(Prompt([first + n]) for n in (0, 1)))


def test_joined_batches_are_padded_alike_and_their_prompts_numbered_on():
    one, two = batch([2, 1], 10), batch([1, 3, 2], 50, columns=("rank", "margin"))
    whole = join([one, two])
    assert whole.mask.shape == (5, 3)
    assert whole.mask.sum(-1).tolist() == [2, 1, 1, 3, 2]
    assert whole.group.tolist() == [0, 1, 2, 3, 3]
    assert [prompt.tokens for prompt in whole.prompts] == [[10], [11], [50], [51]]
    assert whole.columns.keys() == {"rank"}
    assert whole.scores.tolist() == [12, 11, 51, 53, 52]
    assert whole.tokens[0].tolist() == [10, 11, 0]


def test_cut_undoes_join():
    parts = [batch([2, 1], 10), batch([1, 3, 2], 50), batch([1, 4], 7)]
    whole = join(parts)
    for name in ("logps", "scores"):
        for piece, part in zip(cut(whole.signals[name], parts), parts, strict=True):
            assert torch.equal(piece, part.signals[name])


class Contrast(Objective):
    """A loss of the whole step, with a sort and a batch statistic."""

    name = "contrast"
    data = Preferences
    reads = {"reference"}
    scope = "step"

    def loss(self, batch: Batch) -> Loss:
        ratio = ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)
        centred = (ratio - ratio.mean()) / (ratio.std() + 1)
        order = ratio.argsort()
        return Loss(-logsigmoid(centred + 0.1 * ratio[order.flip(0)]), None, {"spread": ratio.detach()})


class Entropic(Contrast):
    """The same with a function over the vocabulary and the policy's entropy."""

    entropy = True
    over_vocabulary = {"divergence": lambda policy, reference: (policy.exp() * (policy - reference)).sum(-1)}

    def loss(self, batch: Batch) -> Loss:
        moved = ((batch.divergence + 0.2 * batch.entropy) * batch.mask).sum(-1)
        return Loss(super().loss(batch).terms * (1 + moved / moved.mean()))


def trainer(objective, folder, groups=GROUPS, dropout=0.0, held_out=(), **settings):
    roles = tiny_roles()
    if dropout:
        roles.lora = roles.lora.model_copy(update={"dropout": dropout})
    for name in sorted(objective.trains):
        roles.add(name, trainable=True)
        shake(roles, name)
    for name in sorted(objective.reads):
        roles.add(name, trainable=False)
    options = {"batch_size": 5, "learning_rate": 1e-2, "max_grad_norm": 1e9, **settings}
    terms = TinyTerms(roles, Training(**options), folder)
    return terms.trainer(terms.fixed(objective, groups, held_out))


def gradient_of(one):
    one.open()
    metrics = one.step(0).metrics
    return {name: parameter.grad.clone() for name, parameter in one.parameters.items()}, metrics


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


class Several(Objective):
    """Two losses, one per completion and one per token, each with weights of its own."""

    name = "several"
    data = Preferences

    def loss(self, batch: Batch):
        best = batch.best()
        weight = batch.mask * (1 + batch.rank)[:, None]
        ratio = (batch.logps * batch.mask).sum(-1)
        return (
            Loss(-logsigmoid(ratio / 10), best.float(), {"best": Average(ratio[best])}),
            Loss(-batch.logps, weight, {"surprise": -batch.logps}, factor=0.3),
        )


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


class Mismatched(Objective):
    """Adds to each prompt the first completion of the next one, marked by a column."""

    name = "mismatched"
    data = Demonstrations
    reads = {"reference"}

    def arrange(self, groups):
        others = [*groups[1:], groups[0]]
        return [
            Group(
                group.prompt,
                (group.completions[0], other.completions[0]),
                {"stranger": (0.0, 1.0)},
            )
            for group, other in zip(groups, others, strict=True)
        ]

    def loss(self, batch: Batch) -> Loss:
        ratio = ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)
        return Loss(torch.where(batch.stranger > 0, ratio.square(), -ratio))


def test_an_objective_may_add_completions_and_columns_to_its_groups(tmp_path):
    one = trainer(Mismatched(), tmp_path / "a", groups=GROUPS[:5], held_out=GROUPS[5:])
    one.open()
    (term,) = one.terms
    batches = one._batches(term.objective)
    chosen = batches.choose(term.source, term.source.indices(0), 0)
    assert [len(group.completions) for group in chosen.groups] == [2] * 5
    by_hand = batches.make(chosen, range(5))
    assert by_hand.stranger.tolist() == [0.0, 1.0] * 5
    grads = torch.autograd.grad(term.objective.loss(by_hand).terms.mean(), list(one.parameters.values()))
    found, _ = gradient_of(one)
    for gradient, wanted in zip(found.values(), grads, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-4)
    assert "held_out/loss" in one.evaluate()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda groups: None, "`arrange` returned None"),
        (lambda groups: [1], "`arrange` returned 1 of int"),
        (lambda groups: [Group([1])], "each with completions"),
        (lambda groups: [Group([1], ([2],), {"a": (1.0, 2.0)})], "'a' 2 values for 1"),
    ],
)
def test_an_arrangement_that_is_no_groups_is_refused(answer, told, tmp_path):
    class Wrong(Mismatched):
        def arrange(self, groups):
            return answer(groups)

    one = trainer(Wrong(), tmp_path)
    one.open()
    with pytest.raises(UserError, match=told):
        one.step(0)


def test_a_batch_knows_its_step_and_its_prompts(tmp_path):
    seen = []

    class Asks(Several):
        def loss(self, batch: Batch):
            seen.append((batch.step, batch.steps, [prompt.tokens for prompt in batch.prompts]))
            return super().loss(batch)

    one = trainer(Asks(), tmp_path, steps=3)
    one.open()
    one.step(2)
    ((step, steps, prompts),) = seen
    assert (step, steps) == (2, 3)
    (term,) = one.terms
    assert sorted(prompts) == sorted(GROUPS[index].prompt for index in term.source.indices(2))
