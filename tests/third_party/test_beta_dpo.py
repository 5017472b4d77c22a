"""β-DPO: numbers by hand, the conformance suite, and two steps on the bundled model."""

import math
from dataclasses import replace

import pytest
import torch

from alignkit import Batch, Prompt
from alignkit.testing import check_objective


def batch_of(*log_ratios):
    """Pairs of completions with one token each, whose losers have the log-ratio 0 and the winners these."""
    count = 2 * len(log_ratios)
    winners_and_losers = [number for log_ratio in log_ratios for number in (log_ratio, 0.0)]
    logps = torch.tensor(winners_and_losers)[:, None] - 1
    return Batch(
        torch.arange(count)[:, None],
        torch.ones(count, 1, dtype=torch.bool),
        torch.arange(len(log_ratios)).repeat_interleave(2),
        {"rank": torch.tensor([0.0, 1.0] * len(log_ratios))},
        {"logps": logps.requires_grad_(), "reference_logps": torch.full((count, 1), -1.0)},
        [Prompt([number]) for number in range(len(log_ratios))],
    )


def test_beta_follows_the_margins_of_the_step_by_hand(installed):
    from alignkit_beta_dpo import DynamicBeta

    objective = DynamicBeta(beta=0.5, alpha=2.0, keep=1.0, momentum=0.75)
    objective.state.update({"beta-dpo/mean": 0.2, "beta-dpo/deviation": 1.0})
    batch = batch_of(2.0, 0.4)
    loss = objective.loss(batch)
    # M is 0.5·2 = 1 and 0.5·0.4 = 0.2, with the mean 0.6. M0 = 0.75·0.2 + 0.25·0.6 = 0.3,
    # β = 0.5·(1 + 2·(0.6 − 0.3)) = 0.8, and β·M/β0 is 1.6 and 0.32.
    found = {name: value.values.item() for name, value in loss.averages().items() if name.startswith("beta")}
    assert found["beta-dpo/mean"] == pytest.approx(0.3)
    assert found["beta-dpo/beta"] == pytest.approx(0.8)
    assert found["beta-dpo/deviation"] == pytest.approx(0.75 * 1.0 + 0.25 * 0.4)  # M is 0.4 from its mean
    assert sorted(loss.terms.tolist()) == pytest.approx(
        [math.log(1 + math.exp(-1.6)), math.log(1 + math.exp(-0.32))]
    )
    # β has no gradient: d/d log π(y_w) is −β·(1 − σ(β·M/β0)), as in DPO.
    (gradient,) = torch.autograd.grad(loss.terms.sum(), batch.logps)
    slopes = [0.8 * (1 - 1 / (1 + math.exp(-margin))) for margin in (1.6, 0.32)]
    assert gradient.flatten().tolist() == pytest.approx([-slopes[0], slopes[0], -slopes[1], slopes[1]])


def test_a_pair_far_from_the_usual_is_left_out(installed):
    from alignkit_beta_dpo import DynamicBeta

    objective = DynamicBeta(beta=0.5, keep=0.5)
    objective.state.update({"beta-dpo/mean": 0.0, "beta-dpo/deviation": 0.01})
    loss = objective.loss(batch_of(40.0, 0.2, 0.0))
    # M is 20, 0.1 and 0, σ = 0.9·0.01 + 0.1·9.4 and M0 = 0.1·6.7: the density of the first is e^−200 of the
    # others'. One pair is kept, and the first would have the loss log(1 + e^(−β·20/β0)), which is near 0.
    assert loss.terms.shape == (1,)
    assert loss.terms.item() > 0.1


def test_pairs_are_kept_as_often_as_their_density_says(installed):
    from alignkit_beta_dpo import DynamicBeta

    objective = DynamicBeta(beta=1.0, keep=0.5, momentum=0.999999)
    objective.state.update({"beta-dpo/mean": 0.0, "beta-dpo/deviation": 1.0})
    pairs, draws, kept = batch_of(0.0, 1.0), 2000, 0
    for step in range(draws):
        loss = objective.loss(replace(pairs, step=step, steps=draws))
        kept += loss.terms.item() == pytest.approx(math.log(2))  # its margin is 0
    # The densities are 1 and e^−½, so the first is kept in 1 ÷ (1 + e^−½) = 62 % of the steps.
    expected = 1 / (1 + math.exp(-0.5))
    assert kept / draws == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / draws))


def test_it_conforms(installed):
    from alignkit_beta_dpo import DynamicBeta

    check_objective(DynamicBeta())
    objective = DynamicBeta(keep=0.4, alpha=2.0)
    objective.state.update({"beta-dpo/mean": 0.3, "beta-dpo/deviation": 0.2})
    check_objective(objective)


def test_two_steps_on_the_bundled_model(run):
    first, second = run.metrics("beta-dpo")
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert first["beta-dpo/beta"] == pytest.approx(0.1, abs=1e-4)
    # M0 was 0 after the first step, so it is now a tenth of the mean of the two pairs.
    mean = second["beta-dpo/mean"]
    assert mean == pytest.approx(0.1 * second["rewards/margins"], rel=1e-3)
    assert abs(mean) > 1e-3
    # One pair is kept. Its M follows from β = β0·(1 + α·(M − M0)), and gives the loss.
    factor = second["beta-dpo/beta"] / 0.1
    kept = (factor - 1) / 0.6 + mean
    assert second["loss"] == pytest.approx(math.log(1 + math.exp(-factor * kept)), rel=1e-4)
    assert abs(factor - 1) > 1e-4
