"""The logits of a batch with a cache are those of each sequence alone, in one pass of the model."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from alignkit.sampling.context import Context, _common_beginning

SIZES = {
    "vocab_size": 31,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.4,
}
PROMPTS = [[5, 6, 7, 8, 9, 10], [5, 6, 11], [5, 6, 7, 13, 14]]


@pytest.fixture(params=["full", "sliding"])
def model(request):
    """Attention to everything, or to the last 4 tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(**SIZES) if request.param == "full" else MistralConfig(**SIZES, sliding_window=4)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).requires_grad_(False)


def assert_logits(context, model, sequences):
    for found, tokens in zip(context.logits, sequences, strict=True):
        expected = model(input_ids=torch.tensor([tokens])).logits[0, -1]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prompts", [PROMPTS, [[12], *PROMPTS], PROMPTS[:1], [PROMPTS[0]] * 2])
def test_each_prompt_is_read_as_if_alone(model, prompts):
    assert_logits(Context(model, prompts, pad=0, room=4), model, prompts)


def test_a_beginning_that_prompts_share_is_read_once(model):
    read = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    Context(model, PROMPTS, pad=0, room=4)

    assert read == ([(1, 2), (3, 4)] if model.config.model_type == "llama" else [(3, 6)])


def test_sequences_are_repeated_go_on_and_leave(model):
    context = Context(model, PROMPTS, pad=0, room=4)
    context.repeat(2)
    sequences = [list(prompt) for prompt in PROMPTS for _ in range(2)]
    assert_logits(context, model, sequences)

    context.append(torch.tensor([3, 4, 5, 6, 7, 8]))
    sequences = [[*tokens, 3 + place] for place, tokens in enumerate(sequences)]
    assert_logits(context, model, sequences)

    context.append(torch.tensor([20, 21]), keep=torch.tensor([1, 4]))
    sequences = [[*sequences[1], 20], [*sequences[4], 21]]
    assert_logits(context, model, sequences)


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([[1, 2, 3], [1, 2, 4]], 2),
        ([[1, 2], [1, 2, 3]], 1),  # the last token of the shortest stays, as its logits are needed
        ([[1, 2, 3], [1, 2, 3]], 2),
        ([[1], [2, 3]], 0),
        ([[1, 2, 3], [1, 5, 3], [1, 2, 3]], 1),
    ],
)
def test_the_common_beginning_leaves_each_prompt_a_token(prompts, expected):
    assert _common_beginning(prompts) == expected
