"""Averages of what objectives report."""

import pytest
import torch

from alignkit import Average, Loss, UserError
from alignkit.training.averages import Averages


def test_the_average_over_micro_batches_is_that_of_all_items():
    averages = Averages()
    averages.add([Loss(torch.tensor([1.0]), torch.tensor([1.0]), {"margin": torch.tensor([2.0])})])
    averages.add(
        [Loss(torch.tensor([4.0, 7.0]), torch.tensor([2.0, 0.0]), {"margin": torch.tensor([5.0, 9.0])})]
    )
    assert averages.means() == {"loss": (1 + 8) / 3, "margin": (2 + 10) / 3}


def test_a_metric_without_weight_is_left_out():
    averages = Averages()
    averages.add([Loss(torch.tensor([1.0]), torch.tensor([0.0]), {"plain": Average(torch.zeros(0))})])
    assert averages.means() == {}


def test_a_metric_with_weights_of_its_own_is_averaged_with_them():
    averages = Averages()
    for values, weight in (([1.0, 2.0], [1.0, 3.0]), ([6.0], [2.0])):
        metric = Average(torch.tensor(values), torch.tensor(weight))
        averages.add([Loss(torch.zeros(3), torch.ones(3), {"margin": metric})])
    assert averages.means()["margin"] == (1 * 1 + 2 * 3 + 6 * 2) / (1 + 3 + 2)


def test_a_metric_of_which_the_weights_are_not_clear_is_refused():
    loss = Loss(torch.zeros(2), torch.ones(2), {"plain": torch.zeros(3)})
    with pytest.raises(UserError, match=r"'plain' has the shape \(3,\), .* have \(2,\)"):
        Averages().add([loss])


def test_of_several_losses_the_means_are_added_with_their_factors():
    averages = Averages()
    for first, second in (([1.0, 3.0], [4.0]), ([5.0], [8.0])):
        averages.add(
            [
                Loss(torch.tensor(first), metrics={"a": torch.tensor(first)}),
                Loss(torch.tensor(second), metrics={"b": torch.tensor(second)}, factor=0.5),
            ]
        )
    # (1 + 3 + 5)/3 + ½ · (4 + 8)/2
    assert averages.means() == {"loss": 3 + 0.5 * 6, "a": 3.0, "b": 6.0}
