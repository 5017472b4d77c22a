"""How `auto` is settled: by size and memory, once, and told with the reason."""

import pytest

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models.memory import Machine
from alignkit.models.quantization import choose, settle

GB = 10**9


@pytest.mark.parametrize(
    ("parameters", "memory", "dtype", "expected"),
    [
        (1_000, 10_000, "float32", "none"),  # 4,000 bytes are 40 %
        (1_001, 10_000, "float32", "int8"),
        (1_001, 10_000, "bfloat16", "none"),
        (2_000, 10_000, "bfloat16", "none"),
        (2_001, 10_000, "float16", "int8"),
        (4_000, 10_000, "float32", "int8"),  # 8 bits fill 40 %
        (4_001, 10_000, "float32", "nf4"),
        (3 * GB - 1, 10 * GB, "bfloat16", "int8"),
        (3 * GB, 10 * GB, "bfloat16", "nf4"),  # large enough for 4 bits
        (3 * GB, 15 * GB, "bfloat16", "none"),
    ],
)
def test_the_weights_may_take_two_fifths_of_the_memory(parameters, memory, dtype, expected):
    assert choose(parameters, memory, dtype) == expected


def of(parameters, memory, native="float32", **model):
    return settle(recipe.Model(**model), parameters, lambda: Machine(memory, native))


def test_the_choice_is_told_with_its_reason():
    whole = of(134_515_008, 24 * GB)
    assert whole.model == recipe.Model(quantization="none")
    assert whole.line == (
        "model smollm2-135m: 135 million parameters, not quantized: 0.54 GB of 24 GB in float32 (auto)"
    )
    eight = of(1_240_000_000, 4 * GB, "bfloat16", base="a/b")
    assert eight.model.quantization == "int8"
    assert eight.line == (
        "model a/b: 1.24 billion parameters, int8: 1.2 GB of 4 GB, 2.5 GB in bfloat16 (auto)"
    )
    four = of(8_000_000_000, 24 * GB, "bfloat16", block_size=32)
    assert (four.model.quantization, four.model.block_size) == ("nf4", 32)
    # 8 billion · (½ byte + a scale of 1 byte for 32 weights)
    assert four.line.endswith("nf4 in blocks of 32: 4.2 GB of 24 GB, 16 GB in bfloat16 (auto)")


def test_blocks_mean_nothing_where_auto_does_not_choose_4_bits():
    assert of(1_000, GB, block_size=32).model == recipe.Model(quantization="none")


def test_the_dtype_of_the_recipe_counts_before_the_machines():
    assert of(1_001, 10_000, "float32", dtype="bfloat16").model.quantization == "none"


def test_a_named_quantization_is_left_alone_without_a_look_at_the_machine():
    def unasked():
        raise AssertionError("asked")

    model = recipe.Model(quantization="fp4", block_size=32)
    found = settle(model, None, unasked)
    assert (found.model, found.line) == (model, "model smollm2-135m: fp4 in blocks of 32")
    assert settle(recipe.Model(quantization="int8"), 2_000_000, unasked).line == (
        "model smollm2-135m: 2 million parameters, int8"
    )


def test_a_size_that_is_not_known_leaves_it_open_and_the_rule_is_told():
    found = of(None, 10_000)
    assert found.model.quantization == "auto"
    assert "chosen when the base is there: none where its weights take at most 40% of" in found.line


def test_dora_is_not_brought_over_8_bits():
    assert of(1_001, 10_000, lora={"use_dora": True}).model.quantization == "nf4"


def test_an_adapter_that_needs_quantized_weights_is_refused_where_none_is_chosen():
    lora = {"init_lora_weights": "loftq"}
    assert of(4_001, 10_000, lora=lora).model.quantization == "nf4"
    with pytest.raises(UserError, match=r"auto chose none, .* loftq makes up for what quantization lost"):
        of(1_000, 10_000, lora=lora)
