"""The JSON schema of recipes, compared with what alignkit itself reads and refuses."""

from pathlib import Path

import pytest

from alignkit.errors import UserError
from alignkit.recipe import parse_recipe
from alignkit.recipe.editor import DIALECT, recipe_schema
from alignkit.recipe.file import read_yaml
from alignkit.registry import Registry

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))
GOOD = [
    {"train": "dpo", "on": "x"},
    {"train": {"dpo": {"beta": 0.1}}, "on": "x"},
    {"train": {"dpo": None, "sft": {"weight": 0.1, "on": "x"}}, "on": "x", "held_out": 0.1},
    {"train": "ppo", "on": "x", "reward": "length", "held_out": "val.jsonl"},
    {"train": "ppo", "on": "x", "reward": ["length", {"judge": {"weight": 2}}], "watch": []},
    {"train": "ppo", "on": "x", "reward": {"length": {"unit": "words", "standardize": True}, "judge": None}},
    {"train": "dpo", "on": "x", "optimizer": "muon", "learning_rate": {"policy": 0.1}},
    {"train": "dpo", "on": "x", "optimizer": {"lora-plus": {"ratio": 2}}, "observers": "early-stopping"},
    {"train": "dpo", "on": "x", "observers": ["early-stopping", {"kl-alarm": {"limit": 2}}]},
    {"sample": "base", "on": "x", "top_k": 5, "stop": ["a"]},
    {"label": "x", "by": "length"},
    {"evaluate": "base", "on": "x"},
    {"evaluate": ["base", {"base": {"best_of": 2, "by": ["length"]}}], "on": "x", "by": ["kl", "length"]},
    {"evaluate": {"base": {"best_of": 2, "by": {"length": {"weight": 2}}}}, "on": "x"},
    {"train": "dpo", "on": "x", "seeds": 3},
    {"seeds": 2, "stages": {"a": {"train": "sft", "on": "x"}, "b": {"evaluate": "a", "on": "x"}}},
    {"repeat": 2, "seeds": 2, "stages": {"a": {"sample": "base", "on": "x"}}},
    {"repeat": 2, "first": {"a": "base"}, "stages": {"a": {"train": "sft", "on": "x", "start": "a"}}},
]
BAD = [
    {"train": ["dpo"], "on": "x"},
    {"train": "dpo"},
    {"train": "dpo", "on": "x", "steps": 0},
    {"train": "dpo", "on": "x", "stepz": 1},
    {"train": {"dpo": 3}, "on": "x"},
    {"train": {"dpo": {"weight": 0}}, "on": "x"},
    {"train": "dpo", "on": "x", "learning_rate": 0},
    {"train": "dpo", "on": "x", "learning_rate": {"policy": 0}},
    {"train": "dpo", "on": "x", "optimizer": ["muon"]},
    {"train": "ppo", "on": "x", "reward": 3},
    {"train": "ppo", "on": "x", "held_out": {"pth": "val.jsonl"}},
    {"sample": "base", "on": "x", "weights": "fast"},
    {"evaluate": {"base": {"bestof": 2}}, "on": "x"},
    {"repeat": 0, "stages": {"a": {"train": "sft", "on": "x"}}},
    {"stages": {"a": {"train": "sft", "on": "x"}}},
    {"train": "dpo", "on": "x", "seeds": 0},
    {"evaluate": "base", "on": "x", "seeds": 2},
    {"repeat": 2, "stages": {"a": {"trian": "sft", "on": "x"}}},
]


@pytest.fixture(scope="module")
def schema():
    return recipe_schema(Registry())


@pytest.fixture(scope="module")
def is_valid(schema):
    validators = pytest.importorskip("jsonschema")
    validators.Draft202012Validator.check_schema(schema)
    return validators.Draft202012Validator(schema).is_valid


def whole(stage):
    return {"name": "x", "data": {"x": "x.jsonl"}, "stages": {"a-stage": stage}}


def follow(schema, part):
    """The part of the schema to which a reference leads."""
    return schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part


def find(schema, *keys):
    """The part of the schema at some keys of a recipe."""
    part = follow(schema, schema)
    for key in keys:
        part = follow(schema, part["properties"][key])
    return part


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid(is_valid, path):
    assert is_valid(read_yaml(path))


@pytest.mark.parametrize("stage", GOOD, ids=str)
def test_the_short_forms_of_recipes_are_valid(is_valid, stage):
    parse_recipe(whole(stage))
    assert is_valid(whole(stage))


@pytest.mark.parametrize("stage", BAD, ids=str)
def test_what_alignkit_refuses_is_invalid(is_valid, stage):
    with pytest.raises(UserError):
        parse_recipe(whole(stage))
    assert not is_valid(whole(stage))


@pytest.mark.parametrize(
    "stage",
    [
        {"train": "dpoo", "on": "x"},
        {"train": {"dpo": {"bta": 0.1}}, "on": "x"},
        {"train": "dpo", "on": "x", "optimizer": "adam"},
        {"train": "dpo", "on": "x", "observers": {"kl-alarm": {"limt": 1}}},
        {"train": "ppo", "on": "x", "reward": {"length": {"units": "words"}}},
        {"train": "ppo", "on": "x", "reward": {"judge": {"unit": "words"}}},
    ],
    ids=str,
)
def test_names_and_options_that_no_plugin_registers_are_invalid(is_valid, stage):
    assert not is_valid(whole(stage))


def test_the_schema_says_what_it_is_and_describes_every_key(schema):
    assert schema["$schema"] == DIALECT
    assert find(schema, "training", "max_length")["minimum"] == 8
    assert schema["$defs"]["Training"]["properties"]["optimizer"]["default"] == "adamw"
    bare = [
        f"{name}.{key}"
        for name, definition in schema["$defs"].items()
        for key, field in definition.get("properties", {}).items()
        if not field.get("description")
    ]
    assert not bare


def test_names_complete_to_what_is_registered_with_the_options(schema):
    train = follow(schema, find(schema, "stages")["additionalProperties"]["anyOf"][0])["properties"]
    name, mapping = follow(schema, train["train"])["anyOf"]
    assert "dpo" in name["enum"]
    assert mapping["properties"]["dpo"]["properties"].keys() == {"beta", "label_smoothing", "weight", "on"}
    assert mapping["additionalProperties"] is False
    name, mapping, several = follow(schema, train["reward"])["anyOf"]
    assert name == {"type": "string"}, "a stage may be a reward too"
    assert mapping["properties"]["length"]["properties"].keys() == {"unit", "weight", "standardize", "roles"}
    assert mapping["additionalProperties"]["properties"].keys() == {"weight", "standardize", "roles"}
    assert several["items"]["anyOf"] == [name, mapping]


def test_an_option_whose_type_json_cannot_describe_takes_anything(tmp_path):
    file = tmp_path / "odd.py"
    file.write_text(
        "from collections.abc import Callable\n"
        "from alignkit import Reward, hookimpl\n\n\n"
        "class Odd(Reward):\n"
        '    """Scores."""\n\n'
        '    name = "odd"\n'
        "    how: Callable[[int], int] = abs\n\n\n"
        "@hookimpl\n"
        "def register_rewards(register):\n"
        "    register(Odd)\n"
    )
    schema = recipe_schema(Registry([file]))
    assert "how" in schema["$defs"]["Odd"]["properties"]
