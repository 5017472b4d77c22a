"""Sampled completions: selected, with rewards, divergences and scaled numbers by hand."""

import math

import pytest
import torch

from alignkit import Rollouts

MASK = torch.tensor([[True, True, True], [True, False, False]])


def rollouts(group=(0, 0), mask=MASK, **signals):
    return Rollouts(mask.long(), mask, torch.tensor(group), signals=signals)


def test_completions_are_selected_by_their_places_or_by_marks():
    found = rollouts([0, 0, 1], torch.ones(3, 1, dtype=torch.bool), rewards=torch.tensor([1.0, 2, 3]))
    assert found.select(torch.tensor([2, 0])).rewards.tolist() == [3, 1]
    assert found.select(torch.tensor([True, False, True])).rewards.tolist() == [1, 3]


def test_a_reward_of_a_whole_completion_is_earned_at_its_last_token():
    found = rollouts(rewards=torch.tensor([2.0, 5.0]))
    assert found.at_end(torch.tensor([7.0, 8.0])).tolist() == [[0, 0, 7], [8, 0, 0]]
    assert found.token_rewards.tolist() == [[0, 0, 2], [5, 0, 0]]
    given = torch.tensor([[1.0, 0, 1], [5, 0, 0]])
    assert rollouts(rewards=given.sum(-1), token_rewards=given).token_rewards is given


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_estimates_of_the_divergence_are_those_of_one_token_by_hand(estimator):
    logps = torch.tensor([[-1.0, -2, -3], [-1, 0, 0]])
    reference = torch.tensor([[-1.5, -2, -2], [-1, 9, 9]])
    found = rollouts(logps=logps, reference_logps=reference).token_kl(estimator)
    # log r = log π_ref − log π is −½, 0, 1 and 0; outside the mask nothing counts
    expected = {
        "k1": [0.5, 0, -1],
        "k2": [0.125, 0, 0.5],
        "k3": [math.exp(-0.5) - 1 + 0.5, 0, math.e - 2],
    }[estimator]
    assert found.tolist()[0] == pytest.approx(expected)
    assert found.tolist()[1] == [0, 0, 0]


def test_whitened_numbers_have_mean_zero_and_variance_one_over_what_counts():
    values = torch.tensor([[1.0, 2, 3], [6, 99, 99]])
    found = rollouts().whitened(values)
    # of 1, 2, 3 and 6 the mean is 3 and the variance (4 + 1 + 0 + 9)/3
    scale = math.sqrt(14 / 3)
    assert found.tolist()[0] == pytest.approx([-2 / scale, -1 / scale, 0], abs=1e-6)
    assert found.tolist()[1] == pytest.approx([3 / scale, 0, 0])
    shifted = rollouts().whitened(values, shift=False)
    assert shifted.tolist()[1] == pytest.approx([3 + 3 / scale, 0, 0])
