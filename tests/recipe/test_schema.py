"""Whole recipes: the order of their stages, shared settings, and what they refer to."""

import pytest

from alignkit.errors import UserError
from alignkit.recipe import RewardTerm, Train, load_recipe, parse_recipe
from alignkit.recipe.schema import parse_stage

GOOD = {
    "name": "demo",
    "data": {"comparisons": "pairs.jsonl", "prompts": "some/prompts"},
    "training": {"learning_rate": 1e-5, "batch_size": 4, "sampling": {"max_tokens": 32, "temperature": 0.7}},
    "stages": {
        "online": {"train": "ppo", "on": "prompts", "start": "sft", "reward": "judge"},
        "dpo": {"train": {"dpo": {"beta": 0.2}}, "on": "comparisons", "start": "sft"},
        "judge": {"train": "bradley-terry", "on": "comparisons", "start": "sft"},
        "sft": {"train": "sft", "on": "comparisons", "steps": 3, "start": "base"},
        "table": {"evaluate": ["sft", "online"], "on": "prompts", "by": ["judge", "length"]},
    },
}


def test_stages_come_in_the_order_of_their_needs_and_else_as_written():
    assert list(parse_recipe(GOOD).stages) == ["sft", "dpo", "judge", "online", "table"]


def test_a_stage_needs_its_data_and_the_stages_that_it_names_reward_models_included():
    recipe = parse_recipe(GOOD)
    assert recipe.needs(recipe.stages["online"]) == ["prompts", "sft", "judge"]
    assert recipe.needs(recipe.stages["table"]) == ["prompts", "sft", "online", "judge"]
    assert recipe.needs(recipe.stages["sft"]) == ["comparisons"], "the base is no stage"


def test_shared_settings_hold_where_a_stage_sets_none(edited):
    recipe = parse_recipe(edited(GOOD, {"training.steps": 7}))
    dpo, sft = recipe.stages["dpo"], recipe.stages["sft"]
    assert isinstance(dpo, Train)
    assert isinstance(sft, Train)
    assert (dpo.learning_rate, dpo.steps, sft.steps) == (1e-5, 7, 3)
    assert parse_recipe(GOOD).stages["dpo"].steps is None


def test_a_shared_optimizer_with_options_and_shared_observers_hold_too():
    shared = {"optimizer": {"lora-plus": {"ratio": 8}}, "observers": ["early-stopping"]}
    one = parse_stage("one", {"train": "sft", "on": "x"}, shared)
    other = parse_stage("other", {"train": "sft", "on": "x", "optimizer": "muon", "observers": []}, shared)
    assert (one.optimizer[0].optimizer, one.optimizer[0].options) == ("lora-plus", {"ratio": 8})
    assert one.observers[0].observer == "early-stopping"
    assert (other.optimizer[0].optimizer, other.observers) == ("muon", ())
    whole = parse_recipe(
        {
            "name": "x",
            "data": {"x": "x.jsonl"},
            "training": shared,
            "stages": {"one": {"train": "sft", "on": "x"}},
        }
    )
    assert whole.stages["one"] == one


def test_a_stages_sampling_is_laid_over_the_shared_one_setting_by_setting():
    stage = parse_stage(
        "online",
        {**GOOD["stages"]["online"], "sampling": {"temperature": 1}},
        GOOD["training"],
    )
    assert (stage.sampling.max_tokens, stage.sampling.temperature, stage.sampling.top_p) == (32, 1.0, 1.0)
    assert parse_recipe(GOOD).stages["sft"].sampling.temperature == 0.7


def test_a_recipe_is_read_from_a_file_with_overrides_of_its_short_forms(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "name: demo\ndata: {comparisons: pairs.jsonl}\nstages: {sft: {train: sft, on: comparisons}}\n"
    )
    overrides = ["stages.sft.train.sft.weight=0.5", "data.comparisons.limit=3", "stages.sft.held_out=0.1"]
    recipe = load_recipe(file, overrides)
    assert recipe.stages["sft"].train[0].weight == 0.5
    assert recipe.stages["sft"].held_out == 0.1
    entry = recipe.data["comparisons"]
    assert (entry.path, entry.limit) == ("pairs.jsonl", 3)


def test_an_override_that_makes_the_recipe_invalid_is_refused(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("name: demo\nstages: {sft: {train: sft, on: pairs}}\n")
    with pytest.raises(UserError, match="name: Input should be a valid string"):
        load_recipe(file, ["name.x=3"])


def test_blocks_are_unrolled():
    block = {
        "repeat": 2,
        "first": {"policy": "base"},
        "stages": {"policy": {"train": "raft", "on": "prompts", "start": "policy", "reward": "length"}},
    }
    recipe = parse_recipe({"name": "x", "data": {"prompts": "p.jsonl"}, "stages": {"rounds": block}})
    assert list(recipe.stages) == ["policy-1", "policy-2"]
    assert recipe.stages["policy-1"].start is None
    assert recipe.stages["policy-2"].start == "policy-1"
    assert recipe.stages["policy-2"].reward == (RewardTerm(reward="length"),)


@pytest.mark.parametrize(
    ("edits", "where", "words"),
    [
        ({"stages.sft.on": "comparison"}, "stages.sft", "Did you mean 'comparisons'"),
        ({"stages.table.evaluate": ["sft", "onlin"]}, "stages.table", "Did you mean 'online'"),
        ({"stages.sft.start": "dpo"}, "stages", "wait for each other"),
        ({"stages.judge.start": "judge"}, "stages", "the stages online, judge, table wait for each other"),
        ({"name": "../demo"}, "name", "no valid name"),
        ({"stages.a b": {"train": "sft", "on": "comparisons"}}, "stages.a b", "no valid name"),
        ({"stages.sft": {"trian": "sft", "on": "comparisons"}}, "stages.sft", "exactly one of the verbs"),
        ({"stages.sft.sample": "base"}, "stages.sft", "exactly one of the verbs"),
        ({"stages.sft": "train"}, "stages.sft", "found 'train'"),
        ({"stages": {}}, "stages", "at least one stage"),
        ({"stages.base": {"train": "sft", "on": "comparisons"}}, "stages.base", "both a stage and the base"),
        (
            {"stages.comparisons": {"train": "sft", "on": "prompts"}},
            "stages.comparisons",
            "both a stage and data",
        ),
        (
            {"stages.report": {"train": "sft", "on": "comparisons"}},
            "stages.report",
            "the folder of the report's pictures",
        ),
        (
            {"stages.superseded": {"train": "sft", "on": "comparisons"}},
            "stages.superseded",
            "folder of superseded results",
        ),
    ],
)
def test_a_recipe_that_does_not_hold_together_is_refused(edited, edits, where, words):
    with pytest.raises(UserError) as caught:
        parse_recipe(edited(GOOD, edits))
    assert caught.value.where == where
    assert words in str(caught.value)


def test_what_is_no_mapping_is_no_recipe():
    with pytest.raises(UserError, match=r"my\.yaml: a recipe is a mapping of keys, found list"):
        parse_recipe([GOOD], "my.yaml")
