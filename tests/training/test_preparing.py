"""What an online objective's `prepare` returns, and what of it lasts until `loss`."""

from dataclasses import replace

import pytest
import torch

from alignkit import OnlineObjective, Prompts, Rollouts, UserError
from alignkit.training.preparing import lasting, prepare

MASK = torch.tensor([[True, True], [True, False]])


class Online(OnlineObjective):
    name = "online"
    data = Prompts
    trains = {"policy", "value"}
    reads = {"reference"}


def rollouts(**signals):
    known = {"logps": -MASK.float(), "values": MASK.float(), "reference_logps": -MASK.float()}
    return Rollouts(
        torch.ones(2, 2, dtype=torch.long), MASK, torch.tensor([0, 1]), signals={**known, **signals}
    )


def test_signals_that_trained_roles_compute_anew_are_left_out_and_logps_are_called_old():
    found = lasting(Online(), rollouts(rewards=torch.ones(2)))
    assert set(found) == {"old_logps", "reference_logps", "rewards"}


def test_a_policy_that_is_only_read_keeps_its_logps_beside_the_old_ones():
    class Critic(Online):
        trains = {"value"}
        reads = {"policy", "reference"}

    found = lasting(Critic(), rollouts())
    assert set(found) == {"logps", "old_logps", "reference_logps"}
    assert torch.equal(found["logps"], found["old_logps"])


def test_what_was_prepared_has_no_gradient():
    class Grades(Online):
        def prepare(self, rollouts):
            weight = torch.ones(2, requires_grad=True)
            return rollouts.with_(advantages=weight * rollouts.rewards)

    found = prepare(Grades(), rollouts(rewards=torch.tensor([1.0, 2.0])))
    assert not found.advantages.requires_grad
    assert found.advantages.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda given: given.with_(odd=[1.0]), "gave odd as list, expected a tensor"),
        (lambda given: None, "must return rollouts, found NoneType"),
        (
            lambda given: given.with_(odd=torch.zeros(5)),
            r"gave odd the shape \(5,\), expected \(2, 2\) or \(2,\)",
        ),
        (
            lambda given: given.with_(odd=torch.tensor([1.0, float("nan")])),
            "gave odd numbers that are not finite",
        ),
    ],
)
def test_anything_else_is_refused(answer, words):
    class Odd(Online):
        def prepare(self, rollouts):
            return answer(rollouts)

    with pytest.raises(UserError, match=words):
        prepare(Odd(), rollouts())


def test_a_mask_may_have_gaps_and_stays_as_it_was_given():
    gaps = torch.tensor([[False, True], [True, False]])

    class Leaves(Online):
        def prepare(self, rollouts):
            return replace(rollouts, mask=gaps)

    assert torch.equal(prepare(Leaves(), rollouts()).mask, gaps)


def test_a_state_that_is_no_number_is_refused():
    class Keeps(Online):
        def prepare(self, rollouts):
            self.state["mean"] = rollouts.logps.mean()
            return rollouts

    with pytest.raises(UserError, match=r"objective 'online': state\['mean'\] is a Tensor"):
        prepare(Keeps(), rollouts())
