"""Mistakes in recipes: the key path, what was found, what was expected, the nearest known key."""

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict

from alignkit.errors import UserError
from alignkit.recipe import parse_recipe
from alignkit.recipe.mistakes import validate

GOOD = {
    "name": "demo",
    "model": {"base": "smollm2-135m"},
    "data": {"pairs": {"path": "pairs.jsonl"}, "prompts": "some/prompts"},
    "training": {"learning_rate": 1e-5, "batch_size": 4},
    "stages": {
        "sft": {"train": "sft", "on": "pairs", "steps": 3},
        "judge": {"train": "bradley-terry", "on": "pairs"},
        "ppo": {"train": "ppo", "on": "prompts", "reward": "judge"},
        "drawn": {"sample": "sft", "on": "prompts"},
        "table": {"evaluate": ["sft", "ppo"], "on": "prompts", "by": "judge"},
    },
}
INFINITE = float("inf")


@pytest.mark.parametrize(
    ("edits", "where", "words"),
    [
        ({"stagez": {}}, "stagez", "Did you mean 'stages'"),
        ({"stages": None}, "stages", "required and missing"),
        ({"model.bas": "x"}, "model.bas", "Did you mean 'base'"),
        ({"model.lora": {"rank": 4}}, "model.lora.rank", "Known: alpha, alpha_pattern, dropout"),
        ({"model.lora": {"target": 3}}, "model.lora.target", "found 3"),
        ({"model.quantization": "int4"}, "model.quantization", "'fp4', 'int8' or 'none', found 'int4'"),
        ({"data.pairs": {"pth": "pairs.jsonl"}}, "data.pairs.pth", "Did you mean 'path'"),
        ({"data.pairs": {}}, "data.pairs.path", "required and missing"),
        ({"data": {1: "pairs.jsonl"}}, "data.1", "found 1"),
        ({"training.learning_rat": 1e-5}, "training.learning_rat", "Did you mean 'learning_rate'"),
        ({"training.batch_size": "four"}, "training.batch_size", "found 'four'"),
        ({"training.batch_size": 0}, "training.batch_size", "greater than or equal to 1, found 0"),
        ({"training.learning_rate": INFINITE}, "training.learning_rate", "finite number, found inf"),
        ({"stages.sft.stepz": 3}, "stages.sft.stepz", "Did you mean 'steps'"),
        ({"stages.sft.held_out": ["x"]}, "stages.sft.held_out", "found ['x']"),
        ({"stages.sft.held_out": {"pth": "x"}}, "stages.sft.held_out.pth", "Did you mean 'path'"),
        (
            {"stages.ppo.train": {"ppo": {"weight": 0}}},
            "stages.ppo.train.ppo.weight",
            "greater than 0, found 0",
        ),
        (
            {"stages.ppo.train": {"ppo": {}, "sft": {"weight": 0}}},
            "stages.ppo.train.sft.weight",
            "greater than 0, found 0",
        ),
        (
            {"stages.ppo.sampling": {"temprature": 1}},
            "stages.ppo.sampling.temprature",
            "Did you mean 'temperature'",
        ),
        (
            {"stages.ppo.reward": {"length": {"weight": "heavy"}}},
            "stages.ppo.reward.length.weight",
            "found 'heavy'",
        ),
        (
            {"stages.ppo.reward": ["judge", {"length": {"weight": "heavy"}}]},
            "stages.ppo.reward.length.weight",
            "found 'heavy'",
        ),
        (
            {"stages.table.evaluate": {"ppo": {"bestof": 4}}},
            "stages.table.evaluate.ppo.bestof",
            "Did you mean 'best_of'? Known: best_of, by.",
        ),
        (
            {"stages.table.evaluate": ["sft", {"ppo": {"best_of": 2, "by": {"judge": {"weight": "x"}}}}]},
            "stages.table.evaluate.ppo.by.judge.weight",
            "found 'x'",
        ),
    ],
)
def test_a_mistake_names_its_place_and_the_mend(edited, edits, where, words):
    with pytest.raises(UserError) as caught:
        parse_recipe(edited(GOOD, edits))
    assert caught.value.where == where
    assert words in str(caught.value)


def test_an_unknown_key_is_told_before_other_mistakes(edited):
    with pytest.raises(UserError, match="unknown key"):
        parse_recipe(edited(GOOD, {"training.batch_size": "four", "training.stepz": 3}))


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = 1


class Options(BaseModel):
    """A plugin's options, with types that the recipe itself does not use."""

    model_config = ConfigDict(extra="forbid")

    many: list[Inner] = []
    by_name: dict[str, Inner] = {}
    either: Inner | Literal["auto"] | None = None


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ({"many": [{}, {"size": "x"}]}, "at.many.1.size"),
        ({"many": [{}, {"siz": 1}]}, "at.many.1.siz"),
        ({"by_name": {"a": {"siz": 1}}}, "at.by_name.a.siz"),
        ({"either": {"siz": 1}}, "at.either.siz"),
        ({"either": "aut"}, "at.either"),
    ],
)
def test_options_of_a_plugin_are_told_by_their_places_too(raw, where):
    with pytest.raises(UserError) as caught:
        validate(Options, raw, "at")
    assert caught.value.where == where
    assert ("Did you mean 'size'? Known: size." in str(caught.value)) == where.endswith("siz")
