"""Types, defaults and bounds in words."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field

from alignkit.recipe import Evaluate, Train, Training
from alignkit.recipe.model import Lora, Model
from alignkit.recipe.wording import bounds_in_words, default_in_words, type_in_words


class Options(BaseModel):
    share: float = Field(1e-4, ge=0, lt=1)
    words: list[str] = Field([], min_length=1)
    made: dict[str, int] = Field(default_factory=dict)
    kept: Literal["all", "none"] | None = None
    needed: int
    on: bool = True


@pytest.mark.parametrize(
    ("cls", "name", "words"),
    [
        (Training, "batch_size", "whole number"),
        (Training, "steps", "whole number"),
        (Training, "held_out", "number or text or mapping"),
        (Training, "trackers", "list of text"),
        (Training, "sampling", "mapping"),
        (Training, "schedule", "constant or linear or cosine"),
        (Model, "gradient_checkpointing", "auto or true or false"),
        (Lora, "target", "text or list of text"),
        (Train, "train", "objective, {objective: options}, or several in one mapping"),
        (Train, "reward", "reward, {reward: options}, or a list of these"),
        (Training, "optimizer", "optimizer or {optimizer: options}"),
        (Training, "observers", "observer, {observer: options}, or a list of these"),
        (Training, "learning_rate", "number or mapping"),
        (Evaluate, "evaluate", "stage, {stage: options}, or a list of these"),
        (Options, "made", "mapping"),
    ],
)
def test_a_type_is_named(cls, name, words):
    assert type_in_words(cls.model_fields[name].annotation) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("share", "0.0001"),
        ("words", "empty"),
        ("made", "computed"),
        ("kept", "none"),
        ("needed", ""),
        ("on", "true"),
    ],
)
def test_a_default_is_written_as_in_yaml(name, words):
    assert default_in_words(Options.model_fields[name]) == words


def test_a_section_has_no_default_of_its_own():
    assert default_in_words(Training.model_fields["sampling"]) == ""


def test_bounds_are_told():
    assert bounds_in_words(Options.model_fields["share"]) == "at least 0, less than 1"
    assert bounds_in_words(Options.model_fields["words"]) == "length at least 1"
    assert bounds_in_words(Options.model_fields["on"]) == ""
    assert bounds_in_words(Training.model_fields["steps"]) == "at least 1"
