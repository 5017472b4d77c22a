"""RAFT keeps the right completions, imitates them, and so raises the mean reward."""

import pytest
import torch
from made_rollouts import Language, at_loss, made, mean, optimum, random_rollouts, trained
from pydantic import ValidationError

from alignkit_raft import RewardRankedFineTuning

REWARDS = [1.0, 5.0, 3.0, 9.0, 8.0, 7.0]
GROUPS = [0, 0, 0, 1, 1, 1]


def kept(objective, rewards=REWARDS, group=GROUPS):
    rollouts = made([[1]] * len(rewards), group, rewards, number=list(range(len(rewards))))
    return [int(n) for n in objective.prepare(rollouts).number]


@pytest.mark.parametrize(("keep", "expected"), [(1, [1, 3]), (2, [1, 2, 3, 4]), (3, [0, 1, 2, 3, 4, 5])])
def test_the_best_of_each_prompt_are_kept_in_order(keep, expected):
    assert kept(RewardRankedFineTuning(keep=keep)) == expected


def test_over_the_batch_the_best_of_all_are_kept():
    assert kept(RewardRankedFineTuning(keep=1, over="batch")) == [3, 4]
    assert kept(RewardRankedFineTuning(keep=2, over="batch")) == [1, 3, 4, 5]


def test_of_equal_rewards_the_first_sampled_is_kept():
    assert kept(RewardRankedFineTuning(), [2.0, 2.0, 2.0, 1.0, 4.0, 4.0]) == [0, 4]
    assert kept(RewardRankedFineTuning(over="batch"), [4.0] * 6) == [0, 1]


def test_groups_may_have_different_sizes():
    assert kept(RewardRankedFineTuning(keep=2), [1.0, 5.0, 3.0, 9.0, 8.0], [0, 1, 1, 1, 2]) == [0, 1, 3, 4]


def test_above_leaves_out_what_is_not_better_even_all():
    assert kept(RewardRankedFineTuning(keep=2, above=5.0)) == [3, 4]
    assert kept(RewardRankedFineTuning(keep=2, over="batch", above=7.5)) == [3, 4]
    assert kept(RewardRankedFineTuning(above=100.0)) == []


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_the_kept_equal_a_plain_sort(seed, keep):
    rollouts = random_rollouts(seed)
    found = RewardRankedFineTuning(keep=keep).prepare(rollouts).tokens[:, 0].tolist()
    expected = []
    for group in range(4):
        members = [n for n in range(len(rollouts)) if rollouts.group[n] == group]
        expected += sorted(members, key=lambda n: -float(rollouts.rewards[n]))[:keep]
    assert found == sorted(expected)


def test_the_loss_is_the_mean_surprise_of_the_kept_tokens():
    rollouts = made([[1, 1], [1, 0], [1, 1]], [0, 0, 1], [1.0, 0.0, 2.0])
    prepared = RewardRankedFineTuning().prepare(rollouts)
    loss = RewardRankedFineTuning().loss(
        at_loss(prepared, logps=torch.tensor([[-1.0, -2.0], [-4.0, -8.0]]).double())
    )
    assert float(mean(loss)) == (1 + 2 + 4 + 8) / 4
    assert loss.metrics["objective/scores"].values.tolist() == [1.0, 2.0]
    assert loss.metrics["objective/scores_all"].values.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("over", ["prompt", "batch"])
def test_training_raises_the_mean_reward(over):
    language = Language(vocabulary=6, longest=1)
    generator = torch.Generator().manual_seed(0)
    reference, rewards = (
        torch.randn(1, 6, generator=generator).double(),
        torch.randn(6, generator=generator).double(),
    )
    found = trained(
        RewardRankedFineTuning(over=over, samples_per_prompt=4),
        language,
        reference,
        rewards,
        steps=60,
        rate=0.1,
    )
    start = float((optimum(language, reference, 0 * rewards, 1.0) * rewards).sum())
    assert float((found * rewards).sum()) > start + 0.8 * (float(rewards.max()) - start)


def test_more_cannot_be_kept_than_are_sampled():
    with pytest.raises(ValidationError, match="keep is 9, and samples_per_prompt is 8"):
        RewardRankedFineTuning(keep=9)
