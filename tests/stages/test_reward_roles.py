"""Which stage plays each role that a reward uses, by verb."""

from typing import Any

import pytest

from alignkit import UserError
from alignkit.recipe import parse_recipe
from alignkit.registry import Registry
from alignkit.stages.plan import make_plan

PLUGIN = """
from alignkit import Reward, hookimpl

class Judged(Reward):
    name = "judged"
    uses = {"policy", "judge"}

class Own(Reward):
    name = "own"
    uses = {"policy"}

@hookimpl
def register_rewards(register):
    register(Judged)
    register(Own)
"""
TRAINED = {
    "sft": {"train": "sft", "on": "prompts"},
    "model": {"train": "bradley-terry", "on": "prompts"},
    "drawn": {"sample": "sft", "on": "prompts"},
}


@pytest.fixture
def plan(tmp_path):
    def plan(**stage: Any):
        (tmp_path / "mine.py").write_text(PLUGIN)
        stages = {**TRAINED, "x": stage}
        recipe = parse_recipe({"name": "r", "data": {"prompts": "owner/prompts"}, "stages": stages})
        return make_plan(recipe, Registry([tmp_path / "mine.py"]), tmp_path)

    return plan


def roles_of(rewards):
    return [dict(weighted.reward.roles) for weighted in rewards]


def test_of_sampled_completions_the_policy_is_the_one_that_wrote_them(plan):
    stage = plan(label="drawn", by={"judged": {"roles": {"judge": "base"}}, "length": {}}).stages["x"]
    assert roles_of(stage.rewards) == [{"judge": "base", "policy": "sft"}, {}]
    assert stage.needs == ("drawn", "sft"), "its adapter is read, though the recipe does not name it"
    assert [name for shelf, name in stage.uses(Registry()) if shelf.kind == "sampler"] == ["engine"]


def test_the_recipe_may_bind_the_policy_to_another_stage(plan):
    stage = plan(label="drawn", by={"own": {"roles": {"policy": "base"}}}).stages["x"]
    assert roles_of(stage.rewards) == [{"policy": "base"}]
    assert stage.needs == ("drawn",)


def test_in_training_a_role_is_the_stages_own_unless_it_is_bound(plan):
    reward = {"judged": {"roles": {"judge": "sft"}}}
    stage = plan(train="reinforce", on="prompts", reward=reward, watch="own").stages["x"]
    assert roles_of(stage.rewards) == [{"judge": "sft"}]
    assert roles_of(stage.watch) == [{}]
    assert stage.needs == ("prompts", "sft")


def test_a_stage_that_plays_a_role_comes_first(tmp_path, plan):
    stages = plan(evaluate="base", on="prompts", by={"own": {"roles": {"policy": "sft"}}}).stages
    assert list(stages).index("sft") < list(stages).index("x")
    assert roles_of(stages["x"].rewards) == [{"policy": "sft"}]
    assert "sft" in stages["x"].needs


def test_a_label_stage_without_roles_uses_no_sampler(plan):
    stage = plan(label="drawn", by="length").stages["x"]
    assert not stage.uses_roles
    assert [name for _, name in stage.uses(Registry())] == ["length"]


@pytest.mark.parametrize(
    ("stage", "where", "words"),
    [
        (
            {"label": "prompts", "by": "own"},
            "stages.x.by.own",
            "(?s)role 'policy', which nothing here plays.*roles: {policy: STAGE}",
        ),
        ({"evaluate": "sft", "on": "prompts", "by": "own"}, "stages.x.by.own", "nothing here plays"),
        (
            {"evaluate": {"sft": {"best_of": 2, "by": "own"}}, "on": "prompts"},
            "stages.x.evaluate.own",
            "nothing here plays",
        ),
        (
            {"train": "reinforce", "on": "prompts", "reward": "judged"},
            "stages.x.reward.judged",
            "role 'judge', which nothing here plays",
        ),
        (
            {"label": "drawn", "by": {"own": {"roles": {"polcy": "sft"}}}},
            "stages.x.by.own.roles",
            "(?s)does not use a role 'polcy'.*Did you mean 'policy'",
        ),
        (
            {"label": "drawn", "by": {"length": {"roles": {"policy": "sft"}}}},
            "stages.x.by.length.roles",
            "It uses no role",
        ),
        (
            {"label": "drawn", "by": {"model": {"roles": {"policy": "sft"}}}},
            "stages.x.by.model",
            "takes no options and no roles",
        ),
        (
            {"label": "drawn", "by": {"own": {"roles": {"policy": "model"}}}},
            "stages.x.by.own.roles.policy",
            "'model' is a reward model",
        ),
        (
            {"label": "drawn", "by": {"own": {"roles": {"policy": "drawn"}}}},
            "stages.x.by.own.roles.policy",
            "'drawn' is a sample stage; a train stage is needed",
        ),
        (
            {"label": "drawn", "by": {"own": {"roles": {"policy": "sftt"}}}},
            "stages.x",
            "(?s)no stage and no data is named 'sftt'.*Did you mean 'sft'",
        ),
    ],
)
def test_a_role_that_cannot_be_played_is_refused(plan, stage, where, words):
    with pytest.raises(UserError, match=words) as caught:
        plan(**stage)
    assert caught.value.where == where
