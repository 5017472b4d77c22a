"""Killed runs end in the same bits as unbroken ones, whatever an objective declares."""

import pytest
import torch
from drawn_runs import Dynamic, Versus
from drawn_runs import trainer as online_trainer
from whole_steps import Contrast, Entropic, Several, trainer

from alignkit import Batch, Loss, Objective, Preferences
from alignkit.models.roles import Following


class Adaptive(Objective):
    """Adapts a coefficient to the averages of its steps, and follows a schedule."""

    name = "adaptive"
    data = Preferences
    reads = {"reference"}

    def begin_step(self, step, steps):
        self.state["temperature"] = 1 - step / steps

    def end_step(self, metrics):
        self.state["mean"] = 0.5 * self.state.get("mean", 0.0) + 0.5 * metrics["ratio"]

    def loss(self, batch: Batch) -> Loss:
        ratio = ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)
        pull = (ratio - self.state.get("mean", 0.0)).square()
        return Loss(pull * self.state["temperature"] - ratio, metrics={"ratio": ratio})


class Killed(BaseException):
    pass


def everything(one):
    saved = one._state.parameters
    states = [dict(term.objective.state) for term in one.terms]
    return {name: parameter.detach().clone() for name, parameter in saved.items()}, states


def require_equal_after_a_kill(make, folder, at):
    whole = make(folder / "whole")
    whole.run()
    killed = make(folder / "killed")

    def die(step, values):
        if step == at:
            raise Killed

    killed.track = die
    with pytest.raises(Killed):
        killed.run()
    again = make(folder / "killed")
    again.run()
    (weights, states), (expected, expected_states) = everything(again), everything(whole)
    assert states == expected_states
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(weights[name], value), name


OFFLINE = {
    "a whole step": lambda folder, **o: trainer(Contrast(), folder, micro_batch_tokens=60, **o),
    "functions over the vocabulary": lambda folder, **o: trainer(
        Entropic(), folder, micro_batch_tokens=60, **o
    ),
    "several losses": lambda folder, **o: trainer(Several(), folder, micro_batch_tokens=60, **o),
    "state and schedules": lambda folder, **o: trainer(Adaptive(), folder, **o),
    "a moving reference": lambda folder, **o: trainer(
        Contrast(), folder, following=Following("policy", 0.3, 2), **o
    ),
}


@pytest.mark.parametrize("at", [3, 5])
@pytest.mark.parametrize("make", OFFLINE.values(), ids=OFFLINE)
def test_killed_and_run_again_it_ends_with_the_same_bits(make, at, tmp_path):
    settings = {"steps": 7, "save_every": 2, "dropout": 0.3}
    require_equal_after_a_kill(lambda folder: make(folder, **settings), tmp_path, at)


@pytest.mark.parametrize("objective", [Dynamic, Versus], ids=["refilled batches", "several sources"])
def test_online_too(objective, tmp_path):
    def make(folder):
        reward = lambda tokens: float(sum(tokens) % 3)
        return online_trainer(folder, objective(samples_per_prompt=3), reward, steps=5, save_every=2)

    require_equal_after_a_kill(make, tmp_path, 3)


def test_a_reference_that_moves_is_not_read_from_what_was_computed_before(tmp_path):
    one = trainer(Contrast(), tmp_path, following=Following("policy", 1.0, 1), steps=3)
    one.run()
    assert one.terms[0].source.names == ()
    reference, policy = one.roles.parameters("reference"), one.roles.parameters("policy")
    assert all(torch.equal(reference[key], policy[key]) for key in policy)
