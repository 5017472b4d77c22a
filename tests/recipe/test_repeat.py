"""Blocks of stages: unrolled round by round, each name meaning what was made last."""

import random
from copy import deepcopy

import pytest

from alignkit.errors import UserError
from alignkit.recipe import parse_recipe
from alignkit.recipe.repeat import unroll

ROUNDS = {
    "repeat": 2,
    "first": {"policy": "sft"},
    "stages": {
        "drawn": {"sample": "policy", "on": "prompts"},
        "ranked": {"label": "drawn", "by": "judge"},
        "policy": {"train": {"dpo": {"beta": 0.1}}, "on": "ranked", "start": "policy"},
    },
}


def test_a_stage_reads_what_its_own_round_made_and_else_the_round_before():
    assert unroll({"loop": ROUNDS}) == {
        "drawn-1": {"sample": "sft", "on": "prompts"},
        "ranked-1": {"label": "drawn-1", "by": "judge"},
        "policy-1": {"train": {"dpo": {"beta": 0.1}}, "on": "ranked-1", "start": "sft"},
        "drawn-2": {"sample": "policy-1", "on": "prompts"},
        "ranked-2": {"label": "drawn-2", "by": "judge"},
        "policy-2": {"train": {"dpo": {"beta": 0.1}}, "on": "ranked-2", "start": "policy-1"},
    }


def test_after_the_block_a_bare_name_is_its_last_round_and_a_numbered_one_that_round():
    after = {"evaluate": ["policy", "policy-1", "base"], "on": "prompts", "by": "judge", "against": "policy"}
    assert unroll({"loop": ROUNDS, "compare": after})["compare"] == {
        "evaluate": ["policy-2", "policy-1", "base"],
        "on": "prompts",
        "by": "judge",
        "against": "policy-2",
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"train": {"ppo": {}, "sft": {"weight": 0.1, "on": "drawn"}}},
            {"train": {"ppo": {}, "sft": {"weight": 0.1, "on": "drawn-1"}}},
        ),
        ({"reward": "drawn"}, {"reward": "drawn-1"}),
        (
            {"reward": ["drawn", {"length": {"unit": "words"}}]},
            {"reward": ["drawn-1", {"length": {"unit": "words"}}]},
        ),
        ({"watch": {"drawn": {"weight": 2}}}, {"watch": {"drawn-1": {"weight": 2}}}),
        ({"held_out": "drawn"}, {"held_out": "drawn-1"}),
        (
            {"evaluate": {"drawn": {"best_of": 4, "by": "drawn"}}},
            {"evaluate": {"drawn-1": {"best_of": 4, "by": "drawn-1"}}},
        ),
        (
            {"evaluate": [{"x": {"best_of": 2, "by": [{"drawn": {}}]}}]},
            {"evaluate": [{"x": {"best_of": 2, "by": [{"drawn-1": {}}]}}]},
        ),
        (
            {"watch": {"judged": {"roles": {"drawn": "drawn", "judge": "base"}}}},
            {"watch": {"judged": {"roles": {"drawn": "drawn-1", "judge": "base"}}}},
        ),
        (
            {"evaluate": {"x": {"by": {"judged": {"roles": {"judge": "drawn"}}}}}},
            {"evaluate": {"x": {"by": {"judged": {"roles": {"judge": "drawn-1"}}}}}},
        ),
    ],
)
def test_a_reference_is_found_wherever_it_stands(body, expected):
    block = {"drawn": {"sample": "base", "on": "prompts"}, "next": body}
    assert unroll({"loop": {"repeat": 1, "stages": block}})["next-1"] == expected


@pytest.mark.parametrize(
    "body",
    [
        {"held_out": {"path": "drawn", "split": "next"}},
        {"train": "drawn"},
        {"train": {"drawn": {"label": "drawn", "reward": "next"}}},
        {"reward": {"length": {"unit": "drawn", "stage": "next"}}},
        {"held_out": 0.2},
        {"sampling": {"stop": ["drawn"]}},
    ],
)
def test_what_is_no_reference_stays(body):
    block = {"drawn": {"sample": "base", "on": "prompts"}, "next": body}
    assert unroll({"loop": {"repeat": 1, "stages": block}})["next-1"] == body


def test_two_blocks_follow_each_other():
    first = {
        "repeat": 2,
        "first": {"policy": "base"},
        "stages": {"policy": {"train": "raft", "start": "policy"}},
    }
    second = {
        "repeat": 1,
        "first": {"better": "policy"},
        "stages": {"better": {"train": "raft", "start": "better"}},
    }
    flat = unroll({"one": first, "two": second})
    assert flat["policy-2"]["start"] == "policy-1"
    assert flat["better-1"]["start"] == "policy-2"


def test_the_recipe_that_was_read_is_not_changed():
    stages = {"loop": deepcopy(ROUNDS)}
    unroll(stages)
    assert stages == {"loop": ROUNDS}


def recipe(stages):
    return parse_recipe({"name": "x", "data": {"prompts": "p.jsonl", "pairs": "p.jsonl"}, "stages": stages})


def by_hand(rounds, judge, mixture):
    """The rounds of an iterated method, each written out."""
    stages = {"sft": {"train": "sft", "on": "pairs"}}
    policy = "sft"
    for number in range(1, rounds + 1):
        stages[f"judge-{number}"] = {"train": "bradley-terry", "on": "pairs", "start": policy}
        reward = (
            {f"judge-{number}": {"standardize": True}, "length": {"weight": 0.1}}
            if judge
            else f"judge-{number}"
        )
        online = {"ppo": {}, "sft": {"weight": 0.1, "on": "pairs"}} if mixture else "ppo"
        stages[f"policy-{number}"] = {
            "train": online,
            "on": "prompts",
            "start": policy,
            "reward": reward,
            "steps": 3,
        }
        policy = f"policy-{number}"
    target = {policy: {"best_of": 4, "by": f"judge-{rounds}"}, "sft": None}
    return {
        **stages,
        "compare": {"evaluate": target, "on": "prompts", "by": f"judge-{rounds}", "against": policy},
    }


@pytest.mark.parametrize("seed", range(6))
def test_a_block_is_the_recipe_written_out_by_hand(seed):
    rng = random.Random(seed)
    rounds, judge, mixture = rng.randint(1, 4), rng.random() < 0.5, rng.random() < 0.5
    reward = {"judge": {"standardize": True}, "length": {"weight": 0.1}} if judge else "judge"
    online = {"ppo": {}, "sft": {"weight": 0.1, "on": "pairs"}} if mixture else "ppo"
    block = {
        "judge": {"train": "bradley-terry", "on": "pairs", "start": "policy"},
        "policy": {"train": online, "on": "prompts", "start": "policy", "reward": reward, "steps": 3},
    }
    stages = {
        "sft": {"train": "sft", "on": "pairs"},
        "loop": {"repeat": rounds, "first": {"policy": "sft"}, "stages": block},
        "compare": {
            "evaluate": {"policy": {"best_of": 4, "by": "judge"}, "sft": None},
            "on": "prompts",
            "by": "judge",
            "against": "policy",
        },
    }
    assert recipe(stages) == recipe(by_hand(rounds, judge, mixture))
    assert list(recipe(stages).stages) == list(recipe(by_hand(rounds, judge, mixture)).stages)


def changed(**more):
    block = deepcopy(ROUNDS)
    for key, value in more.items():
        block[key] = value
        if value is None:
            del block[key]
    return {"loop": block}


@pytest.mark.parametrize(
    ("stages", "where", "words"),
    [
        (changed(first=None), "stages.loop.stages.drawn", "the first round needs policy"),
        (changed(first=None), "stages.loop.stages.drawn", "first: {policy: base}"),
        (changed(repeat=0), "stages.loop.repeat", "found 0"),
        (changed(repeat=True), "stages.loop.repeat", "found True"),
        (changed(repeat="two"), "stages.loop.repeat", "found 'two'"),
        (changed(stages=None), "stages.loop.stages", "required and missing"),
        (changed(stages=["drawn"]), "stages.loop.stages", "found ['drawn']"),
        (changed(stages={}), "stages.loop.stages", "at least 1 item"),
        (changed(first=["policy"]), "stages.loop.first", "found ['policy']"),
        (changed(first={"polcy": "base"}), "stages.loop.first", "no stage 'polcy'\nDid you mean 'policy'"),
        (changed(rounds=3), "stages.loop.rounds", "Known: first, repeat, seeds, stages."),
        ({"policy-1": {"train": "sft", "on": "prompts"}, **changed()}, "stages.loop", "'policy-1'"),
        ({**changed(), "policy-1": {"train": "sft", "on": "prompts"}}, "stages.policy-1", "'policy-1'"),
        (
            changed(stages={"base": {"train": "sft", "on": "prompts"}}, first=None),
            "stages.loop.stages.base",
            "the base",
        ),
        (
            changed(stages={"inner": {"repeat": 2, "stages": {}}}, first=None),
            "stages.loop.stages.inner",
            "block",
        ),
    ],
)
def test_a_mistake_in_a_block_names_its_place(stages, where, words):
    with pytest.raises(UserError) as caught:
        unroll(stages)
    assert caught.value.where == where
    assert words in str(caught.value)


def test_a_mistake_in_a_stage_of_a_block_names_the_round():
    block = {"repeat": 2, "stages": {"policy": {"train": "sft", "on": "prompts", "stepz": 3}}}
    with pytest.raises(UserError, match=r"stages\.policy-1\.stepz"):
        recipe({"loop": block})
