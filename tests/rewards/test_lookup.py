"""The rewards that a stage names."""

import pytest

from alignkit import UserError
from alignkit.recipe import RewardTerm, parse_recipe
from alignkit.registry import Registry
from alignkit.rewards.kinds import RegisteredReward, RewardModel
from alignkit.rewards.lookup import find_measured, find_rewards, trains_reward_model

RECIPE = parse_recipe(
    {
        "name": "x",
        "data": {"pairs": "pairs.jsonl"},
        "stages": {
            "policy": {"train": "sft", "on": "pairs"},
            "judge": {"train": "bradley-terry", "on": "pairs"},
            "length": {"train": "bradley-terry", "on": "pairs"},
        },
    }
)


@pytest.fixture(scope="module")
def registry():
    return Registry()


def find(registry, *terms):
    return find_rewards(tuple(RewardTerm(**term) for term in terms), RECIPE, registry, "stages.x.reward")


def test_a_stage_is_a_reward_model_and_any_other_name_a_registered_reward(registry):
    model, overlong = find(
        registry,
        {"reward": "judge", "weight": 2, "standardize": True},
        {"reward": "overlong", "options": {"soft_limit": 3, "hard_limit": 5}},
    )
    assert model.reward == RewardModel("judge")
    assert (model.weight, model.standardize) == (2, True)
    assert isinstance(overlong.reward, RegisteredReward)
    assert overlong.reward.call.hard_limit == 5  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ({"reward": "sentimnt"}, "Did you mean 'sentiment'"),
        ({"reward": "length"}, "both a stage and a registered reward"),
        ({"reward": "judge", "options": {"a": 1}}, "takes no options"),
        ({"reward": "policy"}, "trains no reward model"),
        ({"reward": "overlong", "options": {"soft_limt": 3}}, "Did you mean 'soft_limit'"),
    ],
)
def test_what_is_no_reward_is_refused(registry, term, words):
    with pytest.raises(UserError, match=words):
        find(registry, term)


def test_a_reward_that_cannot_be_made_is_named_with_its_line(tmp_path):
    (tmp_path / "odd.py").write_text(
        "from alignkit import Reward, hookimpl\nclass Odd(Reward):\n    name = 'odd'\n"
        "    def model_post_init(self, context):\n        raise OSError('no file')\n"
        "@hookimpl\ndef register_rewards(register): register(Odd)\n"
    )
    with pytest.raises(
        UserError, match=r"plugin 'odd' cannot be made: OSError: no file \(odd.py:5\)"
    ) as caught:
        find(Registry([tmp_path / "odd.py"]), {"reward": "odd"})
    assert caught.value.where == "stages.x.reward.odd"


def test_scores_are_kept_by_name_so_each_stands_once(registry):
    with pytest.raises(UserError, match="names 'judge' twice"):
        find(registry, {"reward": "judge"}, {"reward": "judge", "weight": 2})


@pytest.mark.parametrize("change", [{"weight": 2}, {"standardize": True}])
def test_a_measured_reward_takes_no_weight(registry, change):
    with pytest.raises(UserError, match="takes no weight"):
        find_measured((RewardTerm(reward="sentiment", **change),), RECIPE, registry, "stages.x.by")


def test_only_a_stage_that_trains_the_reward_alone_is_a_reward_model(registry):
    assert {name: trains_reward_model(stage, registry) for name, stage in RECIPE.stages.items()} == {
        "policy": False,
        "judge": True,
        "length": True,
    }
