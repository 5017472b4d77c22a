"""What a loss adds up to, and how often a batch of rollouts serves."""

import pytest
import torch

from alignkit import Average, Loss, Objective, OnlineObjective, Preferences, Prompts, UserError
from alignkit.objective import updates_per_batch
from alignkit.training.calling import losses_of


class Offline(Objective):
    name = "offline"
    data = Preferences


class Online(OnlineObjective):
    name = "online"
    data = Prompts


def test_the_total_is_the_weighted_sum_and_the_weight():
    total, weight = Loss(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.5, 2.0])).total()
    assert (float(total), weight) == (1 + 1 + 8, 3.5)


def test_without_a_weight_each_term_counts_once():
    total, weight = Loss(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).total()
    assert (float(total), weight) == (10.0, 4.0)


def test_an_item_of_weight_zero_is_left_out_even_where_it_is_not_finite():
    terms = torch.tensor([1.0, float("nan")], requires_grad=True)
    total, weight = Loss(terms, torch.tensor([2.0, 0.0])).total()
    assert (total.item(), weight) == (2.0, 2.0)
    total.backward()
    assert terms.grad is not None
    assert terms.grad.tolist() == [2.0, 0.0]


def test_a_metric_is_weighted_where_its_shape_is_that_of_the_terms():
    metrics = {
        "as the terms": torch.tensor([1.0, 5.0]),
        "each once": Average(torch.tensor([1.0, 5.0, 6.0])),
        "of its own": Average(torch.tensor([1.0, float("nan"), 6.0]), torch.tensor([2.0, 0.0, 0.5])),
    }
    found = Loss(torch.zeros(2), torch.tensor([3.0, 1.0]), metrics).averages()
    assert {name: [float(x) for x in average.sums()] for name, average in found.items()} == {
        "as the terms": [8.0, 4.0],
        "each once": [12.0, 3.0],
        "of its own": [5.0, 2.5],
    }


def test_without_a_weight_a_metric_may_have_any_shape_and_each_of_its_values_counts_once():
    (average,) = Loss(torch.zeros(2), metrics={"any": torch.tensor([[1.0, 5.0, 6.0]])}).averages().values()
    assert [float(x) for x in average.sums()] == [12.0, 3.0]


def test_a_metric_of_another_shape_than_the_weighted_terms_is_refused():
    loss = Loss(torch.zeros(2), torch.tensor([3.0, 1.0]), {"plain": torch.tensor([1.0, 5.0, 6.0])})
    with pytest.raises(UserError, match=r"'plain' has the shape \(3,\), .* have \(2,\)") as error:
        loss.averages()
    assert "Average(values, weight)" in (error.value.hint or "")


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (
            Loss(torch.zeros(2), torch.zeros(2, 1)),
            r"terms of shape \(2,\) and weight of shape \(2, 1\)",
        ),
        (
            Loss(torch.zeros(2), metrics={"odd": Average(torch.zeros(2), torch.zeros(2, 1))}),
            r"'odd'.*\(2,\).*\(2, 1\)",
        ),
    ],
    ids=["terms", "metric"],
)
def test_a_weight_of_another_shape_is_refused(loss, words):
    class Odd(Offline):
        def loss(self, batch):
            return loss

    with pytest.raises(UserError, match=words):
        losses_of(Odd(), None)  # type: ignore[arg-type]


def test_rollouts_serve_epochs_times_minibatches_steps():
    assert updates_per_batch(Offline()) == 1
    assert updates_per_batch(Online(epochs=3, minibatches=2)) == 6


def test_an_objective_without_a_loss_says_so():
    with pytest.raises(NotImplementedError, match="Offline defines no `loss`"):
        Offline().loss(None)  # type: ignore[arg-type]
