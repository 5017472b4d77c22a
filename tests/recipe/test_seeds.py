"""Stages with several seeds: expanded into one stage for each, each name meaning that of the same seed."""

from copy import deepcopy

import pytest

from alignkit.errors import UserError
from alignkit.recipe import Target, parse_recipe
from alignkit.recipe.file import apply_override
from alignkit.recipe.seeds import expand, seed_name

PAIRS = {"train": "bradley-terry", "on": "pairs", "seeds": 2}
POLICY = {"train": "ppo", "on": "prompts", "reward": "reward", "seeds": 2}


def recipe(stages, **more):
    data = {"prompts": "p.jsonl", "pairs": "p.jsonl"}
    return parse_recipe({"name": "x", "data": data, "stages": stages, **more})


def test_a_stage_becomes_one_for_each_seed_and_they_differ_in_the_seed_alone():
    assert expand({"dpo": {"train": "dpo", "on": "pairs", "seeds": 3}}, 7) == {
        "dpo-seed-1": {"train": "dpo", "on": "pairs", "seed": 7},
        "dpo-seed-2": {"train": "dpo", "on": "pairs", "seed": 8},
        "dpo-seed-3": {"train": "dpo", "on": "pairs", "seed": 9},
    }


def test_a_stages_own_seed_is_the_first():
    stages = expand({"dpo": {"train": "dpo", "on": "pairs", "seed": 100, "seeds": 2}}, 7)
    assert [stage["seed"] for stage in stages.values()] == [100, 101]


def test_the_first_seed_is_the_stage_as_it_would_be_without_seeds():
    alone = recipe({"dpo": {"train": "dpo", "on": "pairs"}}, seed=5).stages["dpo"]
    first = recipe({"dpo": {"train": "dpo", "on": "pairs", "seeds": 3}}, seed=5).stages["dpo-seed-1"]
    assert first == alone.model_copy(update={"seed": 5})


def test_more_seeds_leave_the_first_ones_as_they_were():
    two, three = (recipe({"reward": {**PAIRS, "seeds": n}}).stages for n in (2, 3))
    assert {name: three[name] for name in two} == two
    assert list(three) == ["reward-seed-1", "reward-seed-2", "reward-seed-3"]


def test_one_seed_is_the_same_as_none():
    assert list(recipe({"reward": {**PAIRS, "seeds": 1}}).stages) == ["reward"]
    alone = {key: value for key, value in PAIRS.items() if key != "seeds"}
    assert recipe({"reward": {**PAIRS, "seeds": 1}}) == recipe({"reward": alone})


def test_a_name_in_a_stage_with_as_many_seeds_means_the_stage_of_the_same_seed():
    stages = expand({"reward": PAIRS, "ppo": POLICY}, 0)
    assert [stages[f"ppo-seed-{k}"]["reward"] for k in (1, 2)] == ["reward-seed-1", "reward-seed-2"]


@pytest.mark.parametrize(
    "body",
    [
        {"train": "dpo", "on": "NAME"},
        {"train": "sft", "on": "pairs", "start": "NAME"},
        {"train": {"sft": {"on": "NAME"}}, "on": "pairs"},
        {"train": "ppo", "on": "prompts", "reward": {"NAME": {"weight": 2}}},
        {"train": "ppo", "on": "prompts", "reward": "length", "watch": ["NAME"]},
        {"train": "dpo", "on": "pairs", "roles": {"reference": "NAME"}},
        {"train": "dpo", "on": "pairs", "roles": {"reference": {"start": "NAME"}}},
        {"train": "dpo", "on": "pairs", "held_out": "NAME"},
        {"sample": "NAME", "on": "prompts"},
        {"label": "NAME", "by": {"judged": {"roles": {"judge": "NAME"}}}},
    ],
)
def test_a_name_is_found_wherever_it_stands(body):
    def named(value, name):
        if isinstance(value, dict):
            return {named(key, name): named(inner, name) for key, inner in value.items()}
        if isinstance(value, list):
            return [named(inner, name) for inner in value]
        return name if value == "NAME" else value

    stages = {
        "made": {"sample": "base", "on": "prompts", "seeds": 2},
        "next": {**named(body, "made"), "seeds": 2},
    }
    assert expand(stages, 0)["next-seed-2"] == {**named(body, "made-seed-2"), "seed": 1}


def test_the_seeds_of_a_block_are_those_of_its_stages():
    def alone(stage):
        return {key: value for key, value in stage.items() if key != "seeds"}

    block = {"seeds": 2, "stages": {"reward": alone(PAIRS), "ppo": alone(POLICY)}}
    assert recipe({"block": block}) == recipe({"reward": PAIRS, "ppo": POLICY})


def test_a_block_has_rounds_and_seeds_at_once():
    block = {
        "repeat": 2,
        "seeds": 2,
        "first": {"policy": "base"},
        "stages": {
            "drawn": {"sample": "policy", "on": "prompts"},
            "policy": {"train": "sft", "on": "drawn", "start": "policy"},
            "seen": {"evaluate": "policy", "on": "prompts"},
        },
    }
    stages = recipe({"loop": block, "last": {"evaluate": "policy", "on": "prompts"}}).stages
    assert set(stages) == {
        *(f"{name}-{number}-seed-{k}" for name in ("drawn", "policy") for number in (1, 2) for k in (1, 2)),
        *("seen-1", "seen-2", "last"),
    }
    assert stages["policy-2-seed-2"].inputs == ["drawn-2-seed-2", "policy-1-seed-2"]
    assert stages["policy-2-seed-2"].seed == 1
    assert stages["last"].inputs == ["prompts", "policy-2-seed-1", "policy-2-seed-2"]
    assert stages["seen-1"].inputs == ["prompts", "policy-1-seed-1", "policy-1-seed-2"]


def test_a_target_stands_for_all_of_its_seeds():
    stages = {
        "reward": PAIRS,
        "ppo": POLICY,
        "seen": {
            "evaluate": ["ppo", "base", {"base": {"best_of": 4, "by": "reward"}}],
            "on": "prompts",
            "against": "ppo",
        },
    }
    seen = recipe(stages).stages["seen"]
    assert [seen.seeds_of(target) for target in seen.evaluate] == [2, 1, 2]
    assert seen.each(seen.evaluate[0]) == [Target(stage="ppo-seed-1"), Target(stage="ppo-seed-2")]
    assert seen.each(seen.evaluate[1]) == [Target(stage="base")]
    assert [target.by[0].reward for target in seen.each(seen.evaluate[2])] == [
        "reward-seed-1",
        "reward-seed-2",
    ]
    assert seen.inputs == ["prompts", "ppo-seed-1", "ppo-seed-2"]
    assert seen.rewards == ["reward-seed-1", "reward-seed-2"]


def test_an_evaluation_knows_of_the_seeds_that_it_measures_and_of_no_others():
    stages = {"reward": PAIRS, "ppo": POLICY, "seen": {"evaluate": "ppo", "on": "prompts"}}
    assert recipe(stages).stages["seen"].seeds == {"ppo": 2}
    fewer = {**stages, "seen": {**stages["seen"], "seeds": {"ppo": 1}}}
    assert recipe(fewer).stages["seen"].inputs == ["prompts", "ppo-seed-1"]


def test_seeds_are_set_on_the_command_line():
    raw = {"name": "x", "data": {"pairs": "p.jsonl"}, "stages": {"dpo": {"train": "dpo", "on": "pairs"}}}
    apply_override(raw, "stages.dpo.seeds=3")
    assert list(parse_recipe(raw).stages) == [seed_name("dpo", number) for number in (1, 2, 3)]


def test_the_recipe_that_was_read_is_not_changed():
    stages = {"reward": PAIRS, "ppo": POLICY}
    before = deepcopy(stages)
    expand(stages, 0)
    assert stages == before


@pytest.mark.parametrize(
    ("stages", "where", "words"),
    [
        ({"a": {**PAIRS, "seeds": 0}}, "stages.a.seeds", "found 0"),
        ({"a": {**PAIRS, "seeds": True}}, "stages.a.seeds", "found True"),
        ({"a": {**PAIRS, "seeds": "two"}}, "stages.a.seeds", "found 'two'"),
        ({"a": {**PAIRS, "seed": "x"}}, "stages.a-seed-1.seed", "found 'x'"),
        ({"a": {**PAIRS, "seed": 2**63 - 1}}, "stages.a-seed-2.seed", "less than"),
        (
            {"a": PAIRS, "b": {"train": "ppo", "on": "prompts", "reward": "a"}},
            "stages.b",
            "'a' has 2 seeds, and what names it here has 1\n"
            "Name the stage of one seed, a-seed-1, or give this stage `seeds: 2` too.",
        ),
        ({"a": PAIRS, "b": {**POLICY, "reward": "a", "seeds": 3}}, "stages.b", "has 2 seeds, and what"),
        (
            {"a": PAIRS, "b": {"evaluate": "base", "on": "prompts", "by": "a"}},
            "stages.b",
            "one seed, a-seed-1.",
        ),
        ({"a": PAIRS, "b": {"evaluate": "base", "on": "a"}}, "stages.b", "one seed, a-seed-1."),
        (
            {"a": {"evaluate": "base", "on": "prompts", "seeds": 2}},
            "stages.a.seeds",
            "give `seeds` to the stages that it measures",
        ),
        (
            {"a": PAIRS, "b": {**PAIRS, "seeds": 3}, "c": {"evaluate": "a", "against": "b", "on": "prompts"}},
            "stages.c",
            "a is compared seed by seed, so all need as many: a has 2, b has 3",
        ),
        (
            {"a-seed-1": {"train": "sft", "on": "pairs"}, "a": PAIRS},
            "stages.a",
            "two stages would be called 'a-seed-1'",
        ),
        (
            {"loop": {"stages": {"a": PAIRS}}},
            "stages.loop",
            "a block of stages has `repeat`, `seeds`, or both",
        ),
        (
            {"loop": {"seeds": 2, "stages": {"a": PAIRS}}},
            "stages.loop.stages.a.seeds",
            "the block has `seeds`",
        ),
        (
            {"loop": {"seeds": 2, "first": {"a": "base"}, "stages": {"a": POLICY}}},
            "stages.loop",
            "`first` is for the first of several rounds",
        ),
    ],
)
def test_a_mistake_names_its_place_and_the_fix(stages, where, words):
    with pytest.raises(UserError) as caught:
        recipe(stages)
    assert caught.value.where == where
    assert words in str(caught.value)
