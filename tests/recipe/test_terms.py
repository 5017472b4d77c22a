"""What stages name with options: the forms in which objectives, rewards and roles are written."""

import pytest
from pydantic import ValidationError

from alignkit.recipe import Binding, RewardTerm, Term, Train

JUDGE, LENGTH = RewardTerm(reward="judge"), RewardTerm(reward="length")


def train(**settings):
    return Train.model_validate({"train": "ppo", "on": "prompts", **settings})


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ("dpo", [Term(objective="dpo")]),
        ({"dpo": {"beta": 0.2}}, [Term(objective="dpo", options={"beta": 0.2})]),
        (
            {"dpo": {"beta": 0.2}, "sft": {"weight": 0.1, "on": "pairs"}},
            [
                Term(objective="dpo", options={"beta": 0.2}),
                Term(objective="sft", weight=0.1, on="pairs"),
            ],
        ),
    ],
)
def test_objectives_are_a_name_or_a_mapping(written, terms):
    assert train(train=written).train == tuple(terms)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("judge", [JUDGE]),
        (
            {"judge": {"weight": 2, "standardize": True}},
            [RewardTerm(reward="judge", weight=2, standardize=True)],
        ),
        (
            {"length": {"unit": "words", "weight": -0.5}},
            [RewardTerm(reward="length", options={"unit": "words"}, weight=-0.5)],
        ),
        ({"judge": None, "length": {}}, [JUDGE, LENGTH]),
        (["judge", {"length": {"weight": 3}}], [JUDGE, RewardTerm(reward="length", weight=3)]),
        (["judge", "length"], [JUDGE, LENGTH]),
    ],
)
def test_rewards_are_a_name_a_mapping_or_a_list(written, read):
    assert train(reward=written).reward == tuple(read)


def test_a_stage_alone_is_what_a_role_starts_from():
    assert train(roles={"reference": "sft"}).roles == {"reference": Binding(start="sft")}


def test_a_pace_without_something_to_follow_is_refused():
    with pytest.raises(ValidationError, match="give `follow` too"):
        Binding.model_validate({"rate": 0.5})
