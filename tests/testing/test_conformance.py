"""Every objective that comes along conforms, and each way to be wrong is found for its own reason."""

import pytest
import torch
from made_objectives import Sound, SoundOnline, advantages, offline, online, summed

from alignkit import Loss
from alignkit.registry import Registry
from alignkit.testing import check_objective

OBJECTIVES = Registry().objectives.items
OPTIONS = [
    ("sft", {}, {"weight"}),
    ("bradley-terry", {"margin": True, "centering": 0.1}, {"margin", "weight"}),
    ("bradley-terry", {"votes": True}, {"votes"}),
    ("dpo", {"beta": 0.5, "label_smoothing": 0.2}, {"weight"}),
    ("unlikelihood", {"alpha": 0.5}, {"weight"}),
    ("reinforce", {"level": "token", "kl_estimator": "k3", "normalize_advantages": True}, ()),
    ("reinforce", {"baseline": "moving-average", "kl_coef": 0, "clip": 0.2, "epochs": 2}, ()),
    ("ppo", {"samples_per_prompt": 3, "kl_target": 1.0, "entropy_coef": 0.1, "whiten_rewards": True}, ()),
    ("raft", {"keep": 3, "over": "batch", "above": 0.0}, ()),
]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_registered_objective_conforms(name):
    check_objective(OBJECTIVES[name]())


@pytest.mark.parametrize(("name", "options", "columns"), OPTIONS)
def test_objectives_conform_with_other_options(name, options, columns):
    check_objective(OBJECTIVES[name](**options), columns=columns)


def test_a_sound_unpaired_objective_conforms():
    check_objective(Sound())


def test_a_sound_online_objective_conforms_and_keeps_its_state():
    objective = SoundOnline()
    objective.state["mean"] = 3.0
    check_objective(objective)
    assert objective.state == {"mean": 3.0}


def test_what_has_no_weight_may_be_anything():
    check_objective(
        offline(lambda b: Loss(-b.logps, b.mask.float(), {"share": torch.where(b.mask, b.logps, torch.nan)}))
    )


LOSSES = {
    "no gradient": (
        lambda b: Loss(-summed(b).detach()),
        "trains 'policy', but no gradient reaches batch.logps",
    ),
    "gradient at padding": (
        lambda b: Loss(b.logps + 0.1 * b.mask, b.mask + 0.1),
        "gradient reaches batch.logps at padding",
    ),
    "a gradient that is not finite": (
        lambda b: Loss((b.logps * ~b.mask).sum(-1).sqrt() + summed(b)),
        "gradient of batch.logps is not finite",
    ),
    "padding that counts": (
        lambda b: Loss(-b.logps * b.mask),
        "Σ weight is .* with more padding; .*batch.mask",
    ),
    "a mean over padded length": (
        lambda b: Loss(-(b.logps * b.mask).mean(-1)),
        "Σ weight·terms ÷ Σ weight is .* with more padding",
    ),
    "a metric over padded length": (
        lambda b: Loss(-summed(b), metrics={"m": (b.logps * b.mask).mean(-1)}),
        "'m' is .* with more padding",
    ),
    "the order of completions": (
        lambda b: Loss(-summed(b) * torch.arange(1, len(b) + 1)),
        "Σ weight·terms ÷ Σ weight is .* in another order; .*batch.group",
    ),
    "the number of a prompt": (lambda b: Loss(-summed(b) * (b.group == 0)), "in another order"),
    "a mean over the batch": (lambda b: Loss(-summed(b).mean()), "in micro-batches"),
    "the whole batch's mean subtracted": (
        lambda b: Loss((summed(b) - summed(b).mean()).square()),
        "Σ weight·terms .* in micro-batches",
    ),
    "a gradient of the whole batch": (
        lambda b: Loss((summed(b) - summed(b).detach()) * len(b)),
        "the gradient of batch.logps differs in micro-batches",
    ),
    "a metric averaged already": (
        lambda b: Loss(-summed(b), metrics={"m": summed(b).mean()}),
        "'m' is .* in micro-batches",
    ),
    "chance": (lambda b: Loss(-summed(b) * torch.rand(len(b))), "computed again"),
}


@pytest.mark.parametrize("wrong", LOSSES)
def test_a_wrong_loss_is_told_by_its_own_reason(wrong):
    loss, words = LOSSES[wrong]
    with pytest.raises(AssertionError, match=words):
        check_objective(offline(loss))


def test_of_two_trained_roles_both_need_gradient():
    with pytest.raises(AssertionError, match="trains 'value', but no gradient"):
        check_objective(online(advantages, trains={"policy", "value"}))
