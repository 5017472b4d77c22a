"""A process-reward model and REINFORCE against it: numbers by hand, the suite, and two steps of each."""

import math

import pytest
import torch

from alignkit import Batch, Rollouts
from alignkit.testing import check_objective


def test_the_models_loss_is_the_cross_entropy_at_the_ends_of_steps_by_hand(installed):
    from alignkit_prm import ProcessRewardModel

    # Three steps, right, wrong, right, that end in the tokens 0, 2 and 3; σ(log 3) = ¾.
    batch = Batch(
        torch.ones(1, 4, dtype=torch.long),
        torch.ones(1, 4, dtype=torch.bool),
        torch.zeros(1, dtype=torch.long),
        {"step_end": torch.tensor([[1.0, 0, 1, 1]]), "label": torch.tensor([[1.0, 0, 0, 1]])},
        {"prm_values": torch.tensor([[math.log(3), 9.0, math.log(3), 0.0]], requires_grad=True)},
    )
    total, weight = ProcessRewardModel().loss(batch).total()
    # −log ¾ − log(1 − ¾) over two steps; the third comes after a mistake
    assert (total / weight).item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    (gradient,) = torch.autograd.grad(total / weight, batch.prm_values)
    # (σ(v) − c) ÷ 2 at the ends of the two steps, nothing elsewhere
    assert gradient.flatten().tolist() == pytest.approx([-0.25 / 2, 0, 0.75 / 2, 0])
    assert ProcessRewardModel().loss(batch).averages()["steps/accuracy"].sums() == (1, 2)

    total, weight = ProcessRewardModel(until_mistake=False).loss(batch).total()
    assert (total / weight).item() == pytest.approx((math.log(4 / 3) + math.log(4) + math.log(2)) / 3)


def test_a_token_is_reinforced_by_its_step_and_later_ones_by_hand(installed):
    from alignkit_prm import ProcessRewardReinforce

    def value(probability):
        return math.log(probability / (1 - probability))

    # Two samples of one prompt: steps that are right with 0.9 and 0.5, which end in the tokens 0 and 2; and
    # a step that is right with 0.4, which is the first token.
    logps = torch.tensor([[-1.0, -2.0, -1.5], [-0.5, 0.0, 0.0]])
    rollouts = Rollouts(
        torch.ones(2, 3, dtype=torch.long),
        torch.tensor([[True, True, True], [True, False, False]]),
        torch.zeros(2, dtype=torch.long),
        {},
        {
            "logps": logps,
            "step_end": torch.tensor([[1.0, 0, 1], [1, 0, 0]]),
            "prm_values": torch.tensor([[value(0.9), 7.0, value(0.5)], [value(0.4), 0, 0]]),
        },
    )
    objective = ProcessRewardReinforce()
    prepared = objective.prepare(rollouts)
    # mean 0.6, differences 0.3, −0.1 and −0.2, variance (0.09 + 0.01 + 0.04) ÷ 2 = 0.07
    scale = 1 / (math.sqrt(0.07) + 1e-4)
    # token 0 belongs to the first step: 0.3 − 0.1; tokens 1 and 2 to the second: −0.1
    expected = [0.2 * scale, -0.1 * scale, -0.1 * scale, -0.2 * scale, 0, 0]
    assert prepared.advantages.flatten().tolist() == pytest.approx(expected, abs=1e-5)

    now = (logps + math.log(2) * torch.tensor([[1.0, 0, 0], [0, 0, 0]])).requires_grad_()
    loss = objective.loss(prepared.with_(old_logps=logps, logps=now))
    total, weight = loss.total()
    # the ratio is 2 at the first token and 1 at the three others
    assert (total / weight).item() == pytest.approx(-(2 * 0.2 - 0.1 - 0.1 - 0.2) * scale / 4, abs=1e-5)
    (gradient,) = torch.autograd.grad(total / weight, now)
    assert gradient[0].tolist() == pytest.approx(
        [-0.4 * scale / 4, 0.1 * scale / 4, 0.1 * scale / 4], abs=1e-5
    )
    assert [found.item() for found in loss.averages()["steps/reward"].sums()[:1]] == pytest.approx([1.8])


@pytest.mark.parametrize("until_mistake", [True, False])
def test_the_model_conforms(installed, until_mistake):
    from alignkit_prm import ProcessRewardModel

    check_objective(ProcessRewardModel(until_mistake=until_mistake))


@pytest.mark.parametrize("options", [{}, {"samples_per_prompt": 1}, {"epochs": 2, "separator": "\n\n"}])
def test_the_policys_objective_conforms(installed, options):
    from alignkit_prm import ProcessRewardReinforce

    check_objective(ProcessRewardReinforce(**options))


def test_two_steps_of_the_model_tell_its_steps_better(run):
    first, second = run.metrics("prm-model")
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5), "a fresh head gives 0, which is σ⁻¹(½)"
    assert second["loss"] < first["loss"] - 1e-3, "both steps see all data"


def test_two_steps_of_the_policy_read_what_the_model_learnt(run):
    first, second = run.metrics("prm-policy")
    assert "prm-model" in run.manifest("prm-policy")["inputs"]["reads"]
    for line in (first, second):
        assert 0 < line["steps/reward"] < 1
        assert abs(line["steps/reward"] - 0.5) > 1e-4, "a fresh model gives exactly ½"
        assert line["steps/count"] > 1
        assert line["grad_norm"] > 0
        assert "rollouts/reward" not in line, "the stage names no reward"
    assert first["steps/reward"] != second["steps/reward"]
