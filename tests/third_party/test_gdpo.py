"""GDPO: a number by hand, the conformance suite, and two steps on the bundled model."""

import statistics

import pytest
import torch

from alignkit import Batch, Rollouts
from alignkit.testing import check_objective


def rollouts(weights, **parts):
    """Two prompts with two samples each, with these rewards."""
    mask = torch.ones(4, 1, dtype=torch.bool)
    signals = {f"reward_parts/{name}": torch.tensor(values) for name, values in parts.items()}
    group = torch.tensor([0, 0, 1, 1])
    return Rollouts(mask.long(), mask, group, signals=signals, reward_weights=weights)


def test_a_sample_that_two_rewards_prefer_gets_twice_as_much(installed):
    from alignkit_gdpo import DecoupledNormalization

    # Of two samples (0, 1) normalizes to ∓1/√2: the mean is ½, the deviation √(¼ + ¼) = 1/√2. Equal rewards
    # give 0. So S = (−s, s, −2s, 2s) with s = 1/√2. Its mean is 0, its deviation s·√(10 ÷ 3).
    given = rollouts({"right": 1.0, "form": 1.0}, right=[0.0, 1, 0, 1], form=[0.1, 0.1, 0, 1])
    found = DecoupledNormalization().prepare(given)
    deviation = (10 / 3) ** 0.5
    assert found.advantages.tolist() == pytest.approx([x / deviation for x in (-1, 1, -2, 2)], abs=1e-4)
    # With the weights 3 and 1, S = s·(−3, 3, −4, 4), and its deviation is s·√(50 ÷ 3). The size of a reward
    # makes no difference.
    given = rollouts({"right": 3.0, "form": 1.0}, right=[0.0, 100, 0, 1], form=[0.1, 0.1, 0, 1])
    found = DecoupledNormalization().prepare(given)
    deviation = (50 / 3) ** 0.5
    assert found.advantages.tolist() == pytest.approx([x / deviation for x in (-3, 3, -4, 4)], abs=1e-4)


def test_the_loss_is_the_clipped_one_by_hand(installed):
    from alignkit_gdpo import DecoupledNormalization

    batch = Batch(
        torch.ones(2, 2, dtype=torch.long),
        torch.tensor([[True, True], [True, False]]),
        torch.zeros(2, dtype=torch.long),
        signals={
            "logps": torch.tensor([[1.5, 1.1], [0.9, 1.0]]).log().requires_grad_(),
            "old_logps": torch.zeros(2, 2),
            "advantages": torch.tensor([2.0, -1.0]),
            "size": torch.zeros(2),
        },
    )
    terms = DecoupledNormalization(clip=0.2).loss(batch).terms
    # 1.5 is cut to 1.2: −2·(1.2 + 1.1) ÷ 2; and 0.9 is not cut: +0.9
    assert terms.tolist() == pytest.approx([-2.3, 0.9])
    (gradient,) = torch.autograd.grad(terms.sum(), batch.logps)
    assert gradient.flatten().tolist() == pytest.approx([0, -1.1, 0.9, 0])


@pytest.mark.parametrize("options", [{}, {"clip": 0.05, "minibatches": 2}])
def test_it_conforms(installed, options):
    from alignkit_gdpo import DecoupledNormalization

    check_objective(DecoupledNormalization(**options))


def test_two_steps_on_the_bundled_model(run):
    first, second = run.metrics("gdpo")
    _, scores = run.rollouts("gdpo")
    summed = []
    weights = {"length": 0.5, "exact-answer": 1.0}  # as in recipe.yaml
    for lengths, right in zip(scores["each"]["length"], scores["each"]["exact-answer"], strict=True):
        of_prompt = [0.0] * len(lengths)
        for name, given in (("length", lengths), ("exact-answer", right)):
            mean, deviation = statistics.mean(given), statistics.stdev(given)
            for i, value in enumerate(given):
                of_prompt[i] += weights[name] * (value - mean) / deviation if deviation else 0.0
        summed += of_prompt
    assert first["advantages/size"] == pytest.approx(statistics.mean(map(abs, summed)), abs=1e-4)
    assert first["loss"] == pytest.approx(0, abs=1e-4)  # the mean of the advantages, at ratios of 1
    assert second["loss"] < -1e-4  # the second pass over the same samples
