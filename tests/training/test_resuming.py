"""Saving the state of training, and going on from it."""

import pytest
import torch
from tiny_training import optimizer_of
from torch import nn

from alignkit import Objective, Observer, Preferences
from alignkit.recipe import Training
from alignkit.training.observing import Observing, Stopped
from alignkit.training.optimization import make_optimizer
from alignkit.training.resuming import Reached, TrainingState, resume_training, save_training

SETTINGS = Training(warmup=0, schedule="constant")


class Remembers(Objective):
    name = "remembers"
    data = Preferences


class Watches(Observer):
    name = "watches"


def fresh():
    parameters = {"policy/w": nn.Parameter(torch.tensor([1.0, 2.0]))}
    optimizer = make_optimizer(optimizer_of(SETTINGS), parameters, SETTINGS)
    return TrainingState(parameters, optimizer, [Remembers()], Observing([Watches()]))


def step(state, gradient):
    state.parameters["policy/w"].grad = torch.tensor(gradient)
    state.optimizer.step(SETTINGS, 0, 9)


def test_weights_moments_states_and_held_out_metrics_come_back(tmp_path):
    state = fresh()
    step(state, [1.0, -1.0])
    state.objectives[0].state["mean"] = 0.5
    state.observing.observers[0].state["best"] = 0.1
    state.observing.stopped = Stopped(3, 9, "watches", "enough")
    reached = Reached(3, {"held_out/loss": 0.25}, 2, {"loss": 0.3})
    assert save_training(tmp_path, state, reached, keep=1) == 3
    again = fresh()
    assert resume_training(tmp_path, again, pytest.fail) == reached
    assert torch.equal(again.parameters["policy/w"], state.parameters["policy/w"])
    assert dict(again.objectives[0].state) == {"mean": 0.5}
    assert again.observing.states == {"watches": {"best": 0.1}}
    assert again.observing.stopped == state.observing.stopped
    for one in (state, again):
        step(one, [0.5, 0.5])
    assert torch.equal(again.parameters["policy/w"], state.parameters["policy/w"])


def test_without_a_checkpoint_training_begins_at_step_0(tmp_path):
    assert resume_training(tmp_path, fresh(), pytest.fail) == Reached(0, {}, 0, None)
