"""Averages of what objectives report."""

import torch

from alignkit import Loss
from alignkit.training.averages import Averages


def test_the_average_over_micro_batches_is_that_of_all_items():
    averages = Averages()
    averages.add_loss(Loss(torch.tensor([1.0]), torch.tensor([1.0]), {"margin": torch.tensor([2.0])}))
    averages.add_loss(
        Loss(torch.tensor([4.0, 7.0]), torch.tensor([2.0, 0.0]), {"margin": torch.tensor([5.0, 9.0])})
    )
    assert averages.means() == {"loss": (1 + 8) / 3, "margin": (2 + 10) / 3}


def test_a_metric_without_weight_is_left_out():
    averages = Averages()
    averages.add_loss(Loss(torch.tensor([1.0]), torch.tensor([0.0]), {"plain": torch.zeros(0)}))
    assert averages.means() == {}


def test_a_prefix_stands_before_every_name():
    averages = Averages()
    averages.add_loss(Loss(torch.tensor([1.0]), None, {"a": torch.tensor([2.0])}), "dpo/")
    assert averages.means() == {"dpo/loss": 1.0, "dpo/a": 2.0}
