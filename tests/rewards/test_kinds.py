"""What a reward of a stage is."""

from alignkit.rewards.kinds import RegisteredReward, RewardModel, WeightedReward, written


def test_a_weighted_sum_is_written_with_its_weights():
    rewards = (
        WeightedReward(RewardModel("judge")),
        WeightedReward(RegisteredReward("length", lambda **more: []), 0.5),
    )
    assert written(rewards) == "judge + 0.5 × length"
    assert [reward.is_model for reward in rewards] == [True, False]
