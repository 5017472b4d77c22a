"""The optimizer and its learning rates."""

import pytest
import torch
from tiny_training import optimizer_of
from torch import nn

from alignkit import Optimizer, UserError, parameter_groups
from alignkit.models.adapters import HEAD_KEY
from alignkit.recipe import Training
from alignkit.training.optimization import (
    learning_rate,
    learning_rates,
    load_optimizer_state,
    make_optimizer,
    optimizer_state,
)

A, B = "policy/layer.lora_A.weight", "policy/layer.lora_B.weight"


def made(settings, **parameters):
    return make_optimizer(optimizer_of(settings), parameters, settings)


class Plain(Optimizer):
    """Plain gradient descent; `kept` are the parameters that it was given."""

    name = "plain"

    def make(self, parameters):
        self._given = list(parameters)
        return torch.optim.SGD(parameter_groups(parameters))


def test_the_schedule_warms_up_then_falls_to_zero():
    settings = Training(warmup=0.2, schedule="cosine")
    rates = [learning_rate(settings, 1.0, step, 10) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)
    assert learning_rate(settings, 1.0, 10, 10) == pytest.approx(0)
    assert learning_rate(Training(warmup=0, schedule="linear"), 1.0, 5, 10) == 0.5
    assert learning_rate(Training(warmup=3, schedule="constant"), 1.0, 1, 10) == pytest.approx(2 / 3)


def test_the_rate_is_one_metric_or_one_for_each_role():
    constant = {"warmup": 2, "schedule": "constant"}
    assert learning_rates(Training(learning_rate=0.5, **constant), 0, 10) == {"learning_rate": 0.25}
    both = Training(learning_rate={"policy": 0.5, "value": 2.0}, **constant)
    assert learning_rates(both, 0, 10) == {"learning_rate/policy": 0.25, "learning_rate/value": 1.0}


def test_each_role_learns_at_its_own_rate_times_the_schedules_factor():
    settings = Training(learning_rate={"policy": 0.5, "value": 2.0}, warmup=2, schedule="constant")
    weights = {"policy/w": nn.Parameter(torch.ones(1)), "value/w": nn.Parameter(torch.ones(1))}
    optimizer = make_optimizer(Plain(), weights, settings)
    for weight in weights.values():
        weight.grad = torch.ones(1)
    optimizer.step(settings, 0, 10)  # the first of two steps of warm-up: half of the rate
    assert [weight.item() for weight in weights.values()] == [1 - 0.25, 1 - 1.0]
    optimizer.step(settings, 1, 10)
    assert [weight.item() for weight in weights.values()] == [1 - 0.75, 1 - 3.0]


def test_a_plugin_is_told_what_each_parameter_is():
    plain, settings = Plain(), Training(learning_rate=0.5, weight_decay=0.1)
    names = {A: "A", B: "B", f"reward/{HEAD_KEY}": "head", "policy/layer.lora_magnitude_vector": "other"}
    make_optimizer(plain, {name: nn.Parameter(torch.zeros(1)) for name in names}, settings)
    assert [(f"{one.role}/{one.name}", one.part) for one in plain._given] == list(names.items())
    assert {(one.rate, one.weight_decay) for one in plain._given} == {(0.5, 0.1)}


@pytest.mark.parametrize("optimizer", ["adamw", "adamw-8bit", "lora-plus", "muon"])
def test_the_state_is_restored_from_tensors_and_numbers_alone(optimizer):
    def parameters():
        # bitsandbytes keeps 8-bit state of parameters from 4,096 numbers on
        numbers = torch.linspace(-1, 1, 8192).view(64, 128)
        return {name: nn.Parameter(numbers.clone()) for name in (A, B, f"policy/{HEAD_KEY}")}

    def take(one, weights, factor):
        for weight in weights.values():
            weight.grad = factor * torch.sin(100 * torch.arange(8192.0)).view(64, 128)
        one.step(settings, 0, 2)

    settings = Training(
        optimizer=optimizer, learning_rate=1e-2, weight_decay=0.1, warmup=0, schedule="constant"
    )
    whole, cut = parameters(), parameters()
    first = make_optimizer(optimizer_of(settings), whole, settings)
    take(first, whole, 1.0)
    for name, weight in cut.items():
        weight.data.copy_(whole[name].data)
    tensors, numbers = optimizer_state(first)
    assert all(isinstance(value, torch.Tensor) for value in tensors.values())
    second = make_optimizer(optimizer_of(settings), cut, settings)
    load_optimizer_state(second, tensors, numbers)
    take(first, whole, 0.5)
    take(second, cut, 0.5)
    fresh = make_optimizer(optimizer_of(settings), cut, settings)
    assert optimizer_state(fresh)[0].keys() != tensors.keys(), "there is a state to lose"
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_paged_state_needs_a_cuda_device():
    settings = Training(optimizer="paged-adamw-8bit")
    with pytest.raises(UserError, match="needs a CUDA device") as caught:
        made(settings, **{A: nn.Parameter(torch.zeros(2))})
    assert caught.value.where == "training.optimizer"


def broken(make):
    return type("Broken", (Optimizer,), {"name": "broken", "make": make, "__module__": __name__})()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda self, given: torch.optim.SGD(parameter_groups(given[:1])),
            f"takes the parameter {B} 0 times",
        ),
        (
            lambda self, given: [torch.optim.SGD(parameter_groups(given)) for _ in range(2)],
            f"takes the parameter {A} 2 times",
        ),
        (
            lambda self, given: torch.optim.SGD([one.parameter for one in given], lr=1.0),
            "applies the weight decay 0, and the recipe's weight_decay is 0.1",
        ),
        (lambda self, given: given.nothing, "optimizer 'broken' failed: AttributeError"),
    ],
)
def test_a_plugin_that_fails_or_leaves_something_out_is_refused(make, words):
    parameters = {name: nn.Parameter(torch.zeros(2)) for name in (A, B)}
    with pytest.raises(UserError, match=words) as caught:
        make_optimizer(broken(make), parameters, Training(weight_decay=0.1))
    if "failed" in words:
        assert "test_optimization.py:" in str(caught.value.where)


class Averaging(torch.optim.SGD):
    """Trains one weight and shows the mean of all its values, as schedule-free optimizers do."""

    def __init__(self, groups):
        super().__init__(groups)
        self.param_groups[0] |= {"steps": 0, "sum": 0.0}

    def step(self, closure=None):
        super().step(closure)
        group = self.param_groups[0]
        group["steps"] += 1
        group["sum"] += float(group["params"][0].detach())

    def eval(self):
        group = self.param_groups[0]
        group["trained"] = float(group["params"][0].detach())
        group["params"][0].data.fill_(group["sum"] / max(1, group["steps"]))

    def train(self):
        group = self.param_groups[0]
        group["params"][0].data.fill_(group.get("trained", float(group["params"][0].detach())))


def averaging(settings):
    weight = nn.Parameter(torch.tensor([8.0]))
    plugin = broken(lambda self, given: Averaging(parameter_groups(given)))
    return weight, make_optimizer(plugin, {A: weight}, settings)


def test_weights_for_evaluation_are_set_while_measuring_and_at_the_end_and_numbers_of_groups_are_restored():
    settings = Training(learning_rate=1.0, warmup=0, schedule="constant")

    def step(weight, optimizer):
        weight.grad = torch.ones(1)
        optimizer.step(settings, 0, 9)

    weight, optimizer = averaging(settings)
    step(weight, optimizer)  # 7
    step(weight, optimizer)  # 6
    with optimizer.evaluating():
        assert weight.item() == 6.5
    assert weight.item() == 6
    again, other = averaging(settings)
    load_optimizer_state(other, *optimizer_state(optimizer))
    again.data.copy_(weight.data)
    step(again, other)  # 5
    other.finish()
    assert again.item() == (7 + 6 + 5) / 3


def test_a_state_that_no_checkpoint_can_carry_is_refused():
    weight, optimizer = averaging(Training(learning_rate=1.0))
    optimizer.parts[0].state[weight]["history"] = [1.0]
    with pytest.raises(UserError, match="keeps 'history' in its state, a list"):
        optimizer_state(optimizer)
