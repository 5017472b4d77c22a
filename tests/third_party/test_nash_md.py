"""Nash-MD: a number by hand, the conformance suite, and two steps on the bundled model."""

import math

import pytest
import torch

from alignkit import Batch, Rollouts
from alignkit.testing import check_objective


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_advantages_are_those_of_the_paper_by_hand(installed):
    from alignkit_nash_md import NashMirrorDescent

    # Of one prompt two samples of the policy, with rewards 2 and 1, and two of the reference, 0 and 1.
    mask = torch.ones(4, 1, dtype=torch.bool)
    rollouts = Rollouts(
        mask.long(),
        mask,
        torch.zeros(4, dtype=torch.long),
        signals={
            "rewards": torch.tensor([2.0, 1.0, 0.0, 1.0]),
            "source": torch.tensor([0, 0, 1, 1]),
            "logps": torch.tensor([[-1.0], [-2.0], [-1.0], [-1.0]]),
            "reference_logps": torch.tensor([[-1.5], [-2.0], [-1.0], [-1.0]]),
        },
        sources=("policy", "reference"),
    )
    prepared = NashMirrorDescent(samples_per_prompt=2, mixture=0.25, tau=0.1).prepare(rollouts)
    # y_1 wins against y_2 with σ(1), against the reference's samples with σ(2) and σ(1); its log π/μ is 0.5.
    first = 0.75 * sigmoid(1) + 0.25 * (sigmoid(2) + sigmoid(1)) / 2
    second = 0.75 * sigmoid(-1) + 0.25 * (sigmoid(1) + sigmoid(0)) / 2
    assert prepared.advantages.tolist() == pytest.approx([first - 0.5 - 0.1 * 0.5, second - 0.5])
    assert prepared.source.tolist() == [0, 0]  # the reference's samples are opponents alone


def test_only_the_policys_log_probability_has_a_gradient(installed):
    from alignkit_nash_md import NashMirrorDescent

    batch = Batch(
        torch.ones(1, 2, dtype=torch.long),
        torch.ones(1, 2, dtype=torch.bool),
        torch.zeros(1, dtype=torch.long),
        signals={
            "logps": torch.tensor([[-1.0, -2.0]], requires_grad=True),
            "advantages": torch.tensor([0.4]),
            "kl": torch.zeros(1),
            "wins": torch.ones(1),
        },
    )
    terms = NashMirrorDescent().loss(batch).terms
    assert terms.tolist() == pytest.approx([-0.4 * -3])
    (gradient,) = torch.autograd.grad(terms.sum(), batch.logps)
    assert gradient.flatten().tolist() == pytest.approx([-0.4, -0.4])


@pytest.mark.parametrize("options", [{}, {"mixture": 1.0}, {"mixture": 0.0, "tau": 0.0, "opponents": 1}])
def test_it_conforms(installed, options):
    from alignkit_nash_md import NashMirrorDescent

    check_objective(NashMirrorDescent(**options))


def test_two_steps_on_the_bundled_model(run):
    first, second = run.metrics("nash_md")
    samples, scores = run.rollouts("nash_md")
    assert [sample["sources"] for sample in samples] == [[0, 0, 1, 1]] * 2
    # The policy and the reference begin as the same stage, so the first loss is −(P − ½)·log π.
    wins, terms = [], []
    for sample, rewards in zip(samples, scores["total"], strict=True):
        for own in range(2):
            beats = [sigmoid(rewards[own] - reward) for reward in rewards]
            others = sum(beats[:2]) - beats[own]
            wins.append(0.75 * others + 0.25 * sum(beats[2:]) / 2)
            terms.append(-(wins[-1] - 0.5) * sum(sample["logps"][own]))
    assert first["objective/wins"] == pytest.approx(sum(wins) / 4, abs=1e-4)
    assert first["loss"] == pytest.approx(sum(terms) / 4, abs=1e-3)
    assert first["objective/kl"] == pytest.approx(0, abs=1e-4)
    assert abs(second["objective/kl"]) > 1e-3  # the policy moved, and the reference did not
