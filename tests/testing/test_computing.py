"""Each wrong answer of `loss` or `prepare` is named for its own reason."""

import pytest
import torch
from made_objectives import SoundOnline, advantages, offline, online, summed

from alignkit import Loss, Rollouts, UserError
from alignkit.testing import check_objective

LOSSES = {
    "not a loss": (lambda b: summed(b).mean(), "`loss` returned Tensor; expected a Loss"),
    "terms that are no tensor": (lambda b: Loss(1.0), "terms of its loss are float; expected a tensor"),
    "a weight of another shape": (
        lambda b: Loss(-b.logps, torch.ones(len(b))),
        r"terms of shape \(\d+, 5\) and weight of shape \(\d+,\)\n.* needs equal shapes",
    ),
    "a negative weight": (lambda b: Loss(-b.logps, -1.0 * b.mask), "negative"),
    "terms that are not finite": (lambda b: Loss(summed(b).log()), "terms have a number that is not finite"),
    "a metric that is a number": (
        lambda b: Loss(-summed(b), metrics={"length": 3.0}),
        "'length' is float; expected a tensor",
    ),
    "a metric that is not finite": (
        lambda b: Loss(-summed(b), metrics={"ratio": summed(b).log()}),
        "'ratio' has a number that is not finite",
    ),
    "a signal that is not declared": (
        lambda b: Loss(-summed(b) * b.values.sum(-1)),
        r'objective .broken., .*test_computing\.py:\d+: batch\.values .*Declare "value"',
    ),
    "a column that is not there": (
        lambda b: Loss(-summed(b) * b.margin),
        r"(?s)no column 'margin'.*check_objective\(…, columns=",
    ),
    "a mistake of its own": (
        lambda b: Loss(-summed(b) @ torch.ones(1000)),
        "`loss` failed with RuntimeError",
    ),
}


@pytest.mark.parametrize("wrong", LOSSES)
def test_a_wrong_answer_of_loss_is_told_by_its_own_reason(wrong):
    loss, words = LOSSES[wrong]
    with pytest.raises((AssertionError, UserError), match=words):
        check_objective(offline(loss))


PREPARES = {
    "not rollouts": (lambda r: r.rewards, "must return rollouts, found Tensor"),
    "a tensor of another shape": (lambda r: advantages(r, mean=r.rewards.mean()), "gave mean the shape"),
    "a tensor that is not finite": (
        lambda r: advantages(r, ratio=r.rewards.log()),
        "gave ratio numbers that are not finite",
    ),
    "an undeclared signal": (
        lambda r: advantages(r, kl=r.token_kl()),
        r'objective .broken., .*test_computing\.py:\d+: batch\.reference_logps .*Declare "reference"',
    ),
    "a gradient": (
        lambda r: advantages(r, free=r.rewards.clone().requires_grad_()),
        "`prepare` gave free a gradient",
    ),
    "padding that counts": (lambda r: r.with_(advantages=r.rewards / r.mask.shape[1]), "with more padding"),
    "the order of samples": (lambda r: r.with_(advantages=r.rewards.cumsum(0)), "in another order"),
    "a mistake of its own": (lambda r: advantages(r, more=1 / 0), "`prepare` failed with ZeroDivisionError"),
}


@pytest.mark.parametrize("wrong", PREPARES)
def test_a_wrong_prepare_is_told_by_its_own_reason(wrong):
    prepare, words = PREPARES[wrong]
    with pytest.raises((AssertionError, UserError), match=words):
        check_objective(online(prepare))


def test_rollouts_methods_are_not_there_in_loss_as_in_the_engine():
    with pytest.raises(UserError, match=r"batch\.whitened was read"):
        check_objective(online(advantages, lambda b: Loss(-b.whitened(b.rewards) * summed(b))))


def test_state_that_no_checkpoint_can_carry_is_named():
    class Remembering(SoundOnline):
        def prepare(self, rollouts: Rollouts) -> Rollouts:
            self.state["mean"] = rollouts.rewards.mean()
            return advantages(rollouts)

    with pytest.raises(UserError, match=r"state\['mean'\] is a Tensor"):
        check_objective(Remembering())


def test_end_step_gets_what_loss_reports_and_nothing_else():
    def wrong(self, metrics):
        self.state["mean"] = metrics["mean"]

    with pytest.raises(UserError, match=r"`end_step` failed with KeyError: 'mean'"):
        check_objective(offline(lambda b: Loss(-summed(b)), end_step=wrong))
    check_objective(offline(lambda b: Loss(-summed(b), metrics={"mean": summed(b)}), end_step=wrong))
