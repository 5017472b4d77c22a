"""The settings that stages share."""

from dataclasses import fields

import pytest
from pydantic import BaseModel, ValidationError

from alignkit import UserError
from alignkit.recipe import DataEntry, Drawing, Recipe, Sample, Training
from alignkit.recipe.mistakes import validate
from alignkit.recipe.settings import Section, shorthand
from alignkit.sampler import Sampling


def sections(cls: type[BaseModel] = Section) -> list[type[BaseModel]]:
    """Every section of recipes."""
    return [cls, *(inner for derived in cls.__subclasses__() for inner in sections(derived))]


def test_every_key_of_a_recipe_is_described_where_it_is_defined():
    from alignkit.recipe.repeat import Block

    assert {Recipe, Block, Drawing, Training, DataEntry} < {*sections()}
    bare = [
        f"{cls.__name__}.{name}"
        for cls in sections()
        for name, info in cls.model_fields.items()
        if not info.description or "\n" in info.description
    ]
    assert not bare, "Field(description=…) is missing, or longer than a line"


def test_drawing_gives_the_sampler_its_own_settings():
    drawing = Drawing(
        temperature=0.7, top_k=9, top_p=0.9, min_p=0.1, min_tokens=2, max_tokens=30, stop=("\n",)
    )
    assert drawing.sampling(3, seed=5, batch_size=8) == Sampling(
        3, 0.7, 0.9, 9, 0.1, min_tokens=2, max_tokens=30, stop=("\n",), seed=5, batch_size=8
    )
    assert Drawing().sampling(1, seed=0).batch_size == Sampling().batch_size


def test_drawing_leaves_no_setting_of_sampling_out():
    given = {"per_prompt", "seed", "step", "batch_size"}
    assert {field.name for field in fields(Sampling)} == given | (
        Drawing.model_fields.keys() - {"sampler", "weights"}
    )


def test_a_stages_own_per_prompt_and_batch_size_are_not_taken_for_the_samplers():
    stage = Sample(sample="base", on="prompts", per_prompt=4, batch_size=16)
    made = stage.sampling(12, seed=0, batch_size=2)
    assert (made.per_prompt, made.batch_size) == (12, 2)


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ({}, True),
        ({"max_tokens": 3, "stop": ("x",)}, True),
        ({"temperature": 0.9}, False),
        ({"top_k": 5}, False),
        ({"top_p": 0.9}, False),
        ({"min_p": 0.1}, False),
        ({"min_tokens": 1}, False),
    ],
)
def test_samples_follow_the_policy_where_nothing_is_sharpened_cut_off_or_forbidden(change, whole):
    assert Drawing(**change).whole is whole


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 1e-46}, "at least 0.01"),
        ({"temperature": float("inf")}, "finite number"),
        ({"min_tokens": 129}, "min_tokens 129 is more than max_tokens 128"),
        ({"stop": [""]}, "at least 1 character"),
    ],
)
def test_settings_that_cannot_be_drawn_with_are_refused(change, words):
    with pytest.raises(ValidationError, match=words):
        Drawing(**change)


def test_a_path_is_short_for_an_entry_and_a_name_stays_a_name():
    assert shorthand("pairs.jsonl") == {"path": "pairs.jsonl"}
    assert shorthand("owner/data") == {"path": "owner/data"}
    assert shorthand("pairs") == "pairs"
    assert shorthand(0.1) == 0.1
    assert Training(held_out="val.jsonl").held_out == DataEntry(path="val.jsonl")  # type: ignore[arg-type]


def test_a_learning_rate_is_one_number_or_one_for_each_role():
    assert Training(learning_rate=0.1).rates(["policy", "value"]) == {"policy": 0.1, "value": 0.1}
    both = Training(learning_rate={"policy": 0.1, "value": 0.2})
    assert both.rates(["value", "policy"]) == {"value": 0.2, "policy": 0.1}


@pytest.mark.parametrize(
    ("raw", "where", "words"),
    [
        ({"learning_rate": 0}, "training.learning_rate", "greater than 0, found 0"),
        ({"learning_rate": {"policy": -1}}, "training.learning_rate.policy", "greater than 0, found -1"),
        ({"optimizer": ["adamw"]}, "training.optimizer", "the name of one optimizer, or {name: options}"),
        ({"optimizer": {"adamw": {}, "muon": {}}}, "training.optimizer", "the name of one optimizer"),
        ({"observers": 3}, "training.observers", "the name of an observer"),
    ],
)
def test_rates_optimizers_and_observers_of_other_forms_are_refused_where_they_stand(raw, where, words):
    with pytest.raises(UserError) as caught:
        validate(Training, raw, "training")
    assert caught.value.where == where
    assert words in str(caught.value)
