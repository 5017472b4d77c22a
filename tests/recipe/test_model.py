"""The settings of the base and its adapters."""

import pytest
from pydantic import ValidationError

from alignkit.recipe.model import Lora, Model


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"init_lora_weights": "lora_ga"}, "lora_ga needs the gradients"),
        ({"modules_to_save": ["embed_tokens"]}, "all roles share the base's"),
        ({"rank_pattern": {"q_proj": 0}}, "greater than or equal to 1"),
        ({"alpha_pattern": {"(": 4}}, "is no regular expression"),
        ({"init_lora_weights": "orthogonal", "rank_pattern": {"q_proj": 3}}, "needs even ranks, found r 3"),
    ],
)
def test_an_adapter_that_cannot_be_made_is_refused_with_the_reason(change, words):
    with pytest.raises(ValidationError, match=words):
        Lora(**change)


@pytest.mark.parametrize(
    ("quantization", "lora", "words"),
    [
        ("none", {"init_lora_weights": "loftq"}, "loftq makes up for what quantization lost"),
        ("int8", {"use_dora": True}, "use_dora does not go with int8"),
    ],
)
def test_an_adapter_that_does_not_go_with_the_quantization_is_refused(quantization, lora, words):
    assert Model(quantization="nf4", lora=lora)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=words):
        Model(quantization=quantization, lora=lora)  # type: ignore[arg-type]


def test_a_reason_to_refuse_whole_layers_is_no_setting():
    assert "modules_to_save" not in Lora().model_dump()


@pytest.mark.parametrize(
    ("lora", "slower_by"),
    [
        ({}, ()),
        ({"init_lora_weights": "pissa", "use_rslora": True, "rank_pattern": {"q_proj": 4}}, ()),
        ({"use_dora": True, "dropout": 0.1}, ("use_dora", "dropout")),
    ],
)
def test_settings_for_which_peft_computes_the_adapters_are_named(lora, slower_by):
    assert Lora(**lora).slower_by == slower_by
