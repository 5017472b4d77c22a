"""The size of blocks of 4-bit weights: every way in which a base is loaded, read, merged and adapted honours
it.
"""

import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit
from tiny_bases import load_tiny, save_base
from transformers import AutoModelForCausalLM

from alignkit import recipe
from alignkit.models.dequantized import dequantized
from alignkit.models.roles import Roles
from alignkit.models.starts import adapted

FP4 = torch.tensor([0, 1 / 192, 8 / 12, 12 / 12, 4 / 12, 6 / 12, 2 / 12, 3 / 12])
"""The absolute values of FP4's 8 codes, as bitsandbytes documents them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"), "llama")


def nearest(weight: torch.Tensor, codes: torch.Tensor, size: int) -> torch.Tensor:
    """Each weight's nearest code times the largest absolute value of its block of `size`."""
    blocks = weight.flatten().unflatten(0, (-1, size))
    scale = blocks.abs().amax(1, keepdim=True)
    all_codes = torch.cat([codes, -codes])
    index = ((blocks / scale)[..., None] - all_codes).abs().argmin(-1)
    return (all_codes[index] * scale).reshape(weight.shape)


@pytest.mark.parametrize("size", [64, 32])
def test_weights_are_quantized_and_read_in_blocks_of_the_size(folder, size):
    original = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    base = load_tiny(folder, quantization="fp4", block_size=size)
    layers = {n: m for n, m in base.model.named_modules() if isinstance(m, Linear4bit)}
    assert len(layers) == 14
    for name, layer in layers.items():
        assert layer.weight.quant_state.blocksize == size
        expected = nearest(original.get_parameter(f"{name}.weight").detach(), FP4, size)
        # the blocks' scales are themselves rounded to 8 bits
        assert (dequantized(layer) - expected).abs().mean() < 0.01 * expected.abs().mean()


@pytest.mark.parametrize("quantization", ["nf4", "fp4"])
def test_loftq_makes_up_for_what_these_blocks_lost(folder, quantization):
    lost = {}
    for size in (64, 32):
        base = load_tiny(folder, quantization=quantization, block_size=size)
        original = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        roles = Roles(base, recipe.Lora(r=16, alpha=16, init_lora_weights="loftq"), seed=0)
        roles.add("policy", trainable=True)
        for path, layer in adapted(base.model, "policy"):
            if path.endswith("k_proj"):  # 16 × 32: rank 16 reaches all that was lost
                whole = dequantized(layer.get_base_layer()) + layer.get_delta_weight("policy")
                torch.testing.assert_close(
                    whole.detach(), original.get_parameter(f"{path}.weight").detach(), atol=1e-5, rtol=1e-4
                )
                lost[size, path] = layer.get_delta_weight("policy").norm().item()
    assert sum(v for (size, _), v in lost.items() if size == 32) < sum(
        v for (size, _), v in lost.items() if size == 64
    )


@pytest.mark.parametrize("quantization", ["int8", "none"])
def test_blocks_without_4_bits_are_refused(quantization):
    assert recipe.Model(quantization=quantization, block_size=64)
    with pytest.raises(ValueError, match=f"block_size 32 is for weights in 4 bits.*is {quantization}"):
        recipe.Model(quantization=quantization, block_size=32)
