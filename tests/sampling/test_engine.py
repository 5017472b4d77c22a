"""The rollout engine, on tiny random models."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from alignkit.sampling.engine import Sampling, choose, sample

EOS, PAD, VOCABULARY = 1, 0, 31
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.4,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "bos_token_id": 2,
}
PROMPTS = [[5, 6, 7, 8, 9, 10], [5, 6, 11], [12], [5, 6, 7, 13, 14], [20, 21]]


@pytest.fixture(params=["full", "sliding"])
def model(request):
    """Attention to everything, or to the last 4 tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(**SIZES) if request.param == "full" else MistralConfig(**SIZES, sliding_window=4)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def draw(model, prompts, *, eos=EOS, **changes):
    settings = replace(Sampling(per_prompt=3, max_tokens=12, seed=7, batch_size=2), **changes)
    return sample(model, prompts, settings, eos={eos}, pad=PAD)


def alone(model, prompt, tokens):
    """Log-probabilities of `tokens` after `prompt`, (T, V), in one pass of the model with nothing else in the batch."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + tokens])).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_greedy_equals_transformers_own_generation(model, batch_size):
    samples = draw(model, PROMPTS, temperature=0, per_prompt=2, batch_size=batch_size)

    for prompt, (first, second) in zip(PROMPTS, samples, strict=True):
        expected = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=12)[0, len(prompt) :].tolist()
        assert first == second == expected


def test_each_sample_is_what_its_own_random_numbers_choose_without_cache_or_batch(model):
    from alignkit.sampling.engine import _uniforms

    samples = draw(model, PROMPTS, top_p=0.9, temperature=0.8)

    for i, prompt in enumerate(PROMPTS):
        uniforms = _uniforms(Sampling(seed=7, max_tokens=12), [i], 3)
        for k, tokens in enumerate(samples[i]):
            logits = alone(model, prompt, tokens)
            assert choose(logits, uniforms[k, : len(tokens)], 0.8, 0.9).tolist() == tokens


def test_samples_do_not_depend_on_how_prompts_are_batched(model):
    expected = draw(model, PROMPTS, batch_size=1)

    assert draw(model, PROMPTS, batch_size=3) == draw(model, PROMPTS, batch_size=100) == expected
    assert draw(model, PROMPTS[:2], batch_size=2) == expected[:2]


def test_a_seed_decides_the_samples(model):
    assert draw(model, PROMPTS, seed=1) == draw(model, PROMPTS, seed=1)
    assert draw(model, PROMPTS, seed=1) != draw(model, PROMPTS, seed=2)


def test_more_samples_and_more_tokens_continue_the_same_ones(model):
    few, many = draw(model, PROMPTS, per_prompt=2, max_tokens=5), draw(model, PROMPTS, per_prompt=4, max_tokens=9)

    for of_few, of_many in zip(few, many, strict=True):
        assert of_few == [tokens[:5] for tokens in of_many[:2]]


def test_samples_of_a_prompt_differ_and_so_do_equal_prompts(model):
    samples = draw(model, [PROMPTS[0]] * 3, temperature=3, eos=VOCABULARY)

    assert len({tuple(tokens) for of_prompt in samples for tokens in of_prompt}) == 9


def test_frequencies_follow_the_softmax(model):
    draws = 4000
    counts = Counter(tokens[0] for tokens in draw(model, [PROMPTS[1]], per_prompt=draws, max_tokens=1, temperature=3)[0])
    with torch.no_grad():
        expected = (model(input_ids=torch.tensor([PROMPTS[1]])).logits[0, -1] / 3).softmax(-1).tolist()

    likely = [v for v in range(VOCABULARY) if expected[v] * draws >= 5]
    chi_square = sum((counts[v] - draws * expected[v]) ** 2 / (draws * expected[v]) for v in likely)
    # Chi-square with n degrees of freedom has mean n and variance 2n; five deviations are out of chance's reach.
    assert len(likely) > 5
    assert chi_square < len(likely) + 5 * math.sqrt(2 * len(likely))


def test_top_p_keeps_the_fewest_tokens_that_reach_it():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(2000, 4)
    uniform = (torch.arange(2000) + 0.5) / 2000  # evenly spread, so that frequencies are exact to a thousandth

    counts = torch.bincount(choose(logits, uniform, 1.0, 0.7), minlength=4) / 2000

    # 0.5 alone does not reach 0.7; 0.5 and 0.3 do, and their probabilities are 5/8 and 3/8 of what is left.
    assert counts.tolist() == pytest.approx([0.625, 0.375, 0, 0], abs=1e-3)


@pytest.mark.parametrize("spread", [0.01, 1.0, 8.0])
@pytest.mark.parametrize("top_p", [0.05, 0.9, 0.999])
def test_top_p_equals_sorting_the_whole_vocabulary(spread, top_p):
    logits = torch.randn(3, 2000, generator=torch.Generator().manual_seed(0)) * spread
    uniform = torch.tensor([0.02, 0.6, 0.97])
    expected = []
    for row, u in zip(logits.double().softmax(-1), uniform.tolist(), strict=True):
        likelihood, token = row.sort(descending=True)
        size = int((likelihood.cumsum(0) < top_p).sum()) + 1  # the first that reaches top_p is the last in
        nucleus = torch.zeros_like(row)
        nucleus[token[:size]] = likelihood[:size] / likelihood[:size].sum()
        expected.append(int((nucleus.cumsum(0) <= u).sum()))

    assert choose(logits, uniform, 1.0, top_p).tolist() == expected


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-24])
def test_no_token_of_probability_zero_is_chosen(uniform):
    logits = torch.full((1, 6), -math.inf)
    logits[0, 2] = logits[0, 3] = 1.0

    assert int(choose(logits, torch.tensor([uniform]), 1.0, 1.0)) in (2, 3)


def test_an_end_of_sequence_ends_a_sample_and_is_part_of_it(model):
    samples = [tokens for of_prompt in draw(model, PROMPTS, per_prompt=40, max_tokens=30) for tokens in of_prompt]
    ended = [tokens for tokens in samples if EOS in tokens]

    assert ended
    assert all(tokens.index(EOS) == len(tokens) - 1 for tokens in ended)
    assert all(len(tokens) == 30 for tokens in samples if EOS not in tokens)


def test_no_sample_is_longer_than_allowed(model):
    assert {len(tokens) for of_prompt in draw(model, PROMPTS, max_tokens=1) for tokens in of_prompt} == {1}


def test_without_any_end_of_sequence_every_sample_is_full(model):
    samples = sample(model, PROMPTS, Sampling(per_prompt=2, max_tokens=6), eos=set(), pad=PAD)

    assert {len(tokens) for of_prompt in samples for tokens in of_prompt} == {6}


def test_training_flags_return_even_after_a_failure(model):
    model.train()
    model.model.layers[0].eval()
    before = [module.training for module in model.modules()]

    draw(model, PROMPTS)
    assert [module.training for module in model.modules()] == before

    with pytest.raises(IndexError):
        draw(model, [[VOCABULARY + 5]])
    assert [module.training for module in model.modules()] == before


def test_dropout_is_off_while_sampling(model):
    expected = draw(model, PROMPTS)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5

    assert draw(model.train(), PROMPTS) == expected


def test_gradient_checkpointing_does_not_cost_the_cache(model):
    expected = draw(model, PROMPTS)
    model.gradient_checkpointing_enable()

    assert draw(model.train(), PROMPTS) == expected


def test_samples_carry_no_gradient_and_leave_none(model):
    draw(model, PROMPTS)

    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()


def test_progress_counts_prompts(model):
    seen = []
    sample(model, PROMPTS, Sampling(max_tokens=2, batch_size=2), eos={EOS}, pad=PAD, progress=lambda *done: seen.append(done))

    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_no_prompts_give_no_samples(model):
    assert draw(model, []) == []


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(ValueError, match="prompt 1 has no tokens"):
        draw(model, [[5], []])
