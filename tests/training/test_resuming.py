"""Saving the state of training, and going on from it."""

import pytest
import torch
from torch import nn

from alignkit import Objective, Preferences, UserError
from alignkit.recipe import Training
from alignkit.training.optimization import make_optimizer
from alignkit.training.resuming import Resumed, resume_training, save_training


class Remembers(Objective):
    name = "remembers"
    data = Preferences


def parts():
    parameters = {"policy/w": nn.Parameter(torch.tensor([1.0, 2.0]))}
    return parameters, make_optimizer(list(parameters.values()), Training()), [Remembers()]


def test_weights_moments_states_and_held_out_metrics_come_back(tmp_path):
    parameters, optimizer, objectives = parts()
    parameters["policy/w"].grad = torch.tensor([1.0, -1.0])
    optimizer.step()
    objectives[0].state["mean"] = 0.5
    kept = save_training(
        tmp_path, 3, parameters, optimizer, objectives, {"held_out/loss": 0.25}, keep=1, updates=2
    )
    assert kept == 3
    again, other, fresh = parts()
    assert resume_training(tmp_path, again, other, fresh, pytest.fail) == Resumed(
        3, {"held_out/loss": 0.25}, 2
    )
    assert torch.equal(again["policy/w"], parameters["policy/w"])
    assert fresh[0].state == {"mean": 0.5}
    for weight, one in ((parameters["policy/w"], optimizer), (again["policy/w"], other)):
        weight.grad = torch.tensor([0.5, 0.5])
        one.step()
    assert torch.equal(again["policy/w"], parameters["policy/w"])


def test_without_a_checkpoint_training_begins_at_step_0(tmp_path):
    assert resume_training(tmp_path, *parts(), pytest.fail) == Resumed(0, {}, 0)


def test_a_state_that_no_checkpoint_can_carry_is_refused(tmp_path):
    parameters, optimizer, objectives = parts()
    objectives[0].state["mean"] = 0.5
    with pytest.raises(UserError, match=r"state\['mean'\] is a Tensor; checkpoints hold numbers"):
        objectives[0].state["mean"] = torch.zeros(1)  # type: ignore[assignment]
    save_training(tmp_path, 1, parameters, optimizer, objectives, {}, keep=1, updates=1)
    fresh = [Remembers()]
    resume_training(tmp_path, parameters, optimizer, fresh, pytest.fail)
    assert fresh[0].state == {"mean": 0.5}
