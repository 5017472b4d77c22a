"""The rollout engine, on tiny random models."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from alignkit.sampler import Drawn, Sampling
from alignkit.sampling.choosing import choose
from alignkit.sampling.engine import _uniforms, sample

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
    """The tokens of `drawn`."""
    return [[one.tokens for one in of_prompt] for of_prompt in drawn(model, prompts, eos=eos, **changes)]


def drawn(model, prompts, *, eos=EOS, numbers=None, text=None, **changes) -> list[list[Drawn]]:
    settings = replace(Sampling(per_prompt=3, max_tokens=12, seed=7, batch_size=2), **changes)
    return sample(model, prompts, settings, eos={eos}, pad=PAD, numbers=numbers, text=text)


def alone(model, prompt, tokens):
    """Log-probabilities of `tokens` after `prompt`, (T, V), in one pass of the model with nothing else in the
    batch.
    """
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + tokens])).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_greedy_equals_transformers_own_generation(model, batch_size):
    samples = draw(model, PROMPTS, temperature=0, per_prompt=2, batch_size=batch_size)

    for prompt, (first, second) in zip(PROMPTS, samples, strict=True):
        expected = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=12)[
            0, len(prompt) :
        ].tolist()
        assert first == second == expected


def test_each_sample_is_what_its_own_random_numbers_choose_without_cache_or_batch(model):
    samples = draw(model, PROMPTS, top_p=0.9, temperature=0.8)

    for i, prompt in enumerate(PROMPTS):
        uniforms = _uniforms(Sampling(seed=7, max_tokens=12), [i], 3)
        for k, tokens in enumerate(samples[i]):
            logits = alone(model, prompt, tokens)
            assert (
                choose(logits, uniforms[k, : len(tokens)], Sampling(top_p=0.9, temperature=0.8))[0].tolist()
                == tokens
            )


def test_samples_do_not_depend_on_how_prompts_are_batched(model):
    expected = draw(model, PROMPTS, batch_size=1)

    assert draw(model, PROMPTS, batch_size=3) == draw(model, PROMPTS, batch_size=100) == expected
    assert draw(model, PROMPTS[:2], batch_size=2) == expected[:2]


def test_a_seed_decides_the_samples(model):
    assert draw(model, PROMPTS, seed=1) == draw(model, PROMPTS, seed=1)
    assert draw(model, PROMPTS, seed=1) != draw(model, PROMPTS, seed=2)


def test_more_samples_and_more_tokens_continue_the_same_ones(model):
    few, many = (
        draw(model, PROMPTS, per_prompt=2, max_tokens=5),
        draw(model, PROMPTS, per_prompt=4, max_tokens=9),
    )

    for of_few, of_many in zip(few, many, strict=True):
        assert of_few == [tokens[:5] for tokens in of_many[:2]]


def test_samples_of_a_prompt_differ_and_so_do_equal_prompts(model):
    samples = draw(model, [PROMPTS[0]] * 3, temperature=3, eos=VOCABULARY)

    assert len({tuple(tokens) for of_prompt in samples for tokens in of_prompt}) == 9


def test_frequencies_follow_the_softmax(model):
    draws = 4000
    counts = Counter(
        tokens[0] for tokens in draw(model, [PROMPTS[1]], per_prompt=draws, max_tokens=1, temperature=3)[0]
    )
    with torch.no_grad():
        expected = (model(input_ids=torch.tensor([PROMPTS[1]])).logits[0, -1] / 3).softmax(-1).tolist()

    likely = [v for v in range(VOCABULARY) if expected[v] * draws >= 5]
    chi_square = sum((counts[v] - draws * expected[v]) ** 2 / (draws * expected[v]) for v in likely)
    # Chi-square with n degrees of freedom has mean n and variance 2n; five deviations are out of chance's
    # reach.
    assert len(likely) > 5
    assert chi_square < len(likely) + 5 * math.sqrt(2 * len(likely))


def test_an_end_of_sequence_ends_a_sample_and_is_part_of_it(model):
    samples = [
        tokens for of_prompt in draw(model, PROMPTS, per_prompt=40, max_tokens=30) for tokens in of_prompt
    ]
    ended = [tokens for tokens in samples if EOS in tokens]

    assert ended
    assert all(tokens.index(EOS) == len(tokens) - 1 for tokens in ended)
    assert all(len(tokens) == 30 for tokens in samples if EOS not in tokens)


def test_no_sample_is_longer_than_allowed(model):
    assert {len(tokens) for of_prompt in draw(model, PROMPTS, max_tokens=1) for tokens in of_prompt} == {1}


def test_without_any_end_of_sequence_every_sample_is_full(model):
    samples = sample(model, PROMPTS, Sampling(per_prompt=2, max_tokens=6), eos=set(), pad=PAD)

    assert {len(one.tokens) for of_prompt in samples for one in of_prompt} == {6}


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
    sample(
        model,
        PROMPTS,
        Sampling(max_tokens=2, batch_size=2),
        eos={EOS},
        pad=PAD,
        progress=lambda *done: seen.append(done),
    )

    assert [count for number, count in enumerate(seen) if count not in seen[:number]] == [
        (0, 5),
        (1, 5),  # one of two tokens of a batch of two prompts
        (2, 5),
        (3, 5),
        (4, 5),
        (5, 5),
    ]


def test_no_prompts_give_no_samples(model):
    assert draw(model, []) == []


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(ValueError, match="prompt 1 has no tokens"):
        draw(model, [[5], []])


@pytest.mark.parametrize(
    "changes", [{}, {"temperature": 0.7, "top_p": 0.8}, {"temperature": 0}, {"min_tokens": 4, "top_k": 5}]
)
def test_log_probabilities_are_the_models_own_without_temperature_or_cuts(model, changes):
    for prompt, of_prompt in zip(PROMPTS, drawn(model, PROMPTS, **changes), strict=True):
        for one in of_prompt:
            expected = alone(model, prompt, one.tokens).gather(1, torch.tensor(one.tokens)[:, None])[:, 0]
            assert one.logps == pytest.approx(expected.tolist(), abs=1e-4)


def test_finished_says_whether_the_model_ended_the_sample(model):
    samples = [one for of_prompt in drawn(model, PROMPTS, per_prompt=40) for one in of_prompt]

    assert {one.finished for one in samples} == {True, False}
    assert all(one.finished == (one.tokens[-1] == EOS) for one in samples)


def test_a_sample_that_ends_with_the_last_token_allowed_is_finished(model):
    everything = set(range(VOCABULARY))
    [[one]] = sample(model, [[5]], Sampling(per_prompt=1, max_tokens=1), eos=everything, pad=PAD)

    assert one.finished
    assert len(one.tokens) == len(one.logps) == 1


def test_the_number_of_a_prompt_decides_its_samples_not_its_place(model):
    expected = draw(model, PROMPTS, batch_size=1)
    order = [3, 0, 4]

    assert draw(model, [PROMPTS[i] for i in order], numbers=order) == [expected[i] for i in order]
    assert draw(model, PROMPTS[:1], numbers=[6]) != expected[:1]


def test_a_step_draws_other_samples(model):
    assert draw(model, PROMPTS, step=1) == draw(model, PROMPTS, step=1) != draw(model, PROMPTS, step=2)


def test_numbers_are_one_a_prompt(model):
    with pytest.raises(ValueError, match="2 numbers for 5 prompts"):
        draw(model, PROMPTS, numbers=[0, 1])


def test_no_sample_ends_before_min_tokens_were_drawn(model):
    short = [
        tokens
        for of_prompt in draw(model, PROMPTS, per_prompt=40)
        for tokens in of_prompt
        if len(tokens) <= 4
    ]
    samples = [
        tokens for of_prompt in draw(model, PROMPTS, per_prompt=40, min_tokens=4) for tokens in of_prompt
    ]

    assert short, "without it, some are as short"
    assert min(map(len, samples)) == 5  # four others and the end-of-sequence
    assert all(EOS not in tokens[:4] for tokens in samples)


LETTERS = "\x00\x01abcdefghijklmnopqrstuvwxyz.,!"


def spell(ids):
    return "".join(LETTERS[i] for i in ids)


def test_a_stop_string_over_several_tokens_ends_a_sample_with_its_last_one(model):
    free = [tokens for of_prompt in draw(model, PROMPTS, per_prompt=20) for tokens in of_prompt]
    stop = (spell(free[0][2:4]), spell(free[-1][1:4]))
    expected = []
    for tokens in free:
        ends = [t for t in range(1, len(tokens) + 1) if any(word in spell(tokens[:t]) for word in stop)]
        expected.append((tokens[: ends[0]] if ends else tokens, bool(ends) or tokens[-1] == EOS))
    found = [
        (one.tokens, one.finished)
        for of_prompt in drawn(model, PROMPTS, per_prompt=20, stop=stop, text=spell)
        for one in of_prompt
    ]

    assert found == expected
    assert any(len(tokens) < len(whole) for (tokens, _), whole in zip(found, free, strict=True))


def test_a_stop_string_ends_no_sample_before_min_tokens_were_drawn(model):
    [[free]] = draw(model, PROMPTS[:1], per_prompt=1, eos=VOCABULARY)
    early, late = spell(free[1:3]), spell(free[6:9])
    [[one]] = drawn(
        model, PROMPTS[:1], per_prompt=1, min_tokens=6, stop=(early, late), text=spell, eos=VOCABULARY
    )

    assert early not in spell(free[3:])
    assert one.tokens == free[: spell(free).index(late) + 3]


@pytest.mark.parametrize(("stop", "text"), [(("x",), None), (("",), spell)])
def test_stop_strings_that_cannot_be_looked_for_are_refused(model, stop, text):
    with pytest.raises(ValueError, match="stop strings need `text`"):
        drawn(model, PROMPTS, stop=stop, text=text)
