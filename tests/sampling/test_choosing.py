"""The choice of one token: its frequencies, the cuts of the distribution beside transformers' own, its
log-probability.
"""

import math

import pytest
import torch
from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from alignkit.sampler import Sampling
from alignkit.sampling.choosing import _cut, choose


def random_logits(rows=4, vocabulary=2000, spread=3.0, seed=0):
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * spread


def test_top_p_keeps_the_fewest_tokens_that_reach_it():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(2000, 4)
    # evenly spread, so that frequencies are exact to a thousandth
    uniform = (torch.arange(2000) + 0.5) / 2000

    counts = torch.bincount(choose(logits, uniform, Sampling(top_p=0.7))[0], minlength=4) / 2000

    # 0.5 alone does not reach 0.7; 0.5 and 0.3 do, and their probabilities are 5/8 and 3/8 of what is left.
    assert counts.tolist() == pytest.approx([0.625, 0.375, 0, 0], abs=1e-3)


def test_top_p_counts_what_top_k_left():
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().expand(2000, 4)
    uniform = (torch.arange(2000) + 0.5) / 2000

    counts = torch.bincount(choose(logits, uniform, Sampling(top_k=2, top_p=0.55))[0], minlength=4) / 2000

    # Of the two that top_k keeps, the first has 4/7 = 0.571 and reaches 0.55 alone; of all four it would not.
    assert counts.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("spread", [0.01, 1.0, 8.0])
@pytest.mark.parametrize("top_p", [0.05, 0.9, 0.999])
def test_top_p_equals_sorting_the_whole_vocabulary(spread, top_p):
    logits = random_logits(3, spread=spread)
    uniform = torch.tensor([0.02, 0.6, 0.97])
    expected = []
    for row, u in zip(logits.double().softmax(-1), uniform.tolist(), strict=True):
        likelihood, token = row.sort(descending=True)
        size = int((likelihood.cumsum(0) < top_p).sum()) + 1  # the first that reaches top_p is the last in
        nucleus = torch.zeros_like(row)
        nucleus[token[:size]] = likelihood[:size] / likelihood[:size].sum()
        expected.append(int((nucleus.cumsum(0) <= u).sum()))

    assert choose(logits, uniform, Sampling(top_p=top_p))[0].tolist() == expected


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
@pytest.mark.parametrize(
    ("settings", "warpers"),
    [
        ({"top_k": 1}, [TopKLogitsWarper(1)]),
        ({"top_k": 50}, [TopKLogitsWarper(50)]),
        ({"top_k": 5000}, [TopKLogitsWarper(5000)]),
        ({"top_p": 0.3}, [TopPLogitsWarper(0.3)]),
        ({"top_p": 0.95}, [TopPLogitsWarper(0.95)]),
        ({"min_p": 0.05}, [MinPLogitsWarper(0.05)]),
        ({"min_p": 1.0}, [MinPLogitsWarper(1.0)]),
        (
            {"top_k": 40, "top_p": 0.8, "min_p": 0.1},
            [TopKLogitsWarper(40), TopPLogitsWarper(0.8), MinPLogitsWarper(0.1)],
        ),
    ],
)
def test_the_tokens_that_can_be_chosen_are_those_of_transformers(settings, warpers, temperature):
    for seed in range(10):
        logits = random_logits(seed=seed)
        expected = TemperatureLogitsWarper(temperature)(None, logits)
        for warper in warpers:
            expected = warper(None, expected)
        weights = ((logits - logits.amax(-1, keepdim=True)) / temperature).exp()

        assert torch.equal(_cut(weights, logits, Sampling(**settings)) > 0, expected > -math.inf)


def test_choices_are_among_the_tokens_kept_and_reach_all_of_them():
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.5, -1.0]]).expand(1000, 5)
    uniform = (torch.arange(1000) + 0.5) / 1000

    assert set(choose(logits, uniform, Sampling(top_k=3))[0].tolist()) == {0, 2, 3}
    # exp(2.5 - 3) = 0.61, exp(2 - 3) = 0.37
    assert set(choose(logits, uniform, Sampling(min_p=0.5))[0].tolist()) == {0, 3}


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-24])
def test_no_token_of_probability_zero_is_chosen(uniform):
    logits = torch.full((1, 6), -math.inf)
    logits[0, 2] = logits[0, 3] = 1.0

    assert int(choose(logits, torch.tensor([uniform]), Sampling())[0]) in (2, 3)


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_forbidden_tokens_are_not_chosen_however_likely(temperature):
    logits = torch.tensor([[500.0, 1.0, 2.0]]).expand(100, 3)  # exp(2 - 500) is 0 in fp32
    tokens, logps = choose(
        logits, torch.linspace(0, 0.99, 100), Sampling(temperature=temperature), never=torch.tensor([0])
    )

    assert set(tokens.tolist()) == ({2} if temperature == 0 else {1, 2})
    assert logps.tolist() == pytest.approx([{1: -499.0, 2: -498.0}[token] for token in tokens.tolist()])


@pytest.mark.parametrize(
    "settings", [Sampling(), Sampling(top_p=0.5), Sampling(temperature=0.3, top_k=3), Sampling(temperature=0)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_log_probability_knows_no_temperature_and_no_cut(settings, dtype):
    logits = random_logits(50).to(dtype)
    tokens, logps = choose(logits, torch.linspace(0, 0.99, 50), settings)
    expected = logits.double().log_softmax(-1)[torch.arange(50), tokens]

    assert logps.dtype == torch.float32
    torch.testing.assert_close(logps.double(), expected, atol=1e-5, rtol=0)


def test_logits_stay_as_they_were():
    logits = random_logits()
    before = logits.clone()
    choose(
        logits,
        torch.rand(4),
        Sampling(temperature=0.7, top_k=9, top_p=0.9, min_p=0.1),
        never=torch.tensor([3]),
    )

    assert torch.equal(logits, before)
