"""alignkit's own sampler: which weights it computes with, and where it stops."""

from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from tiny_models import ARCHITECTURES, shake, tiny_model
from tiny_tokenizers import CHATML, byte_tokenizer
from transformers import Qwen3MoeConfig

from alignkit import Sampling, UserError, recipe
from alignkit.models import memory
from alignkit.models.base import Base
from alignkit.models.roles import Roles
from alignkit.sampling import merged
from alignkit.sampling.engine import sample
from alignkit.sampling.engine_sampler import EngineSampler

PROMPTS = [[10, 20, 30], [40, 50]]
SETTINGS = Sampling(per_prompt=3, max_tokens=12, seed=5)


def make_roles(template=None, **changes):
    tokenizer = byte_tokenizer(template)
    tokenizer.pad_token = tokenizer.eos_token
    model = tiny_model(vocab_size=len(tokenizer), **changes).requires_grad_(False)
    roles = Roles(
        Base(model, tokenizer, torch.float32, torch.device("cpu"), "the test says so"),
        recipe.Lora(r=4, alpha=8),
        seed=0,
    )
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    shake(roles, "policy")
    return roles


def tokens(drawn):
    return [[one.tokens for one in of_prompt] for of_prompt in drawn]


@pytest.mark.parametrize("weights", ["auto", "merged", "quantized"])
def test_samples_are_the_engines_from_the_role_whatever_the_weights(weights):
    roles = make_roles()
    with roles.active("policy") as model:
        expected = sample(model, PROMPTS, SETTINGS, eos={1, 2}, pad=2)
    found = EngineSampler(roles, weights).sample("policy", PROMPTS, SETTINGS)

    assert tokens(found) == tokens(expected)
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one.logps == pytest.approx(other.logps, abs=1e-3)
        assert one.finished == other.finished
    assert tokens(found) != tokens(EngineSampler(roles, weights).sample("reference", PROMPTS, SETTINGS))


def test_a_sampler_follows_the_adapter_with_one_merged_model(monkeypatch):
    roles, made = make_roles(), []
    make = merged.MergedModel.__init__
    monkeypatch.setattr(
        merged.MergedModel, "__init__", lambda self, roles: made.append(roles) or make(self, roles)
    )
    sampler = EngineSampler(roles)
    before = tokens(sampler.sample("policy", PROMPTS, SETTINGS))
    shake(roles, "policy", seed=9)
    after = tokens(sampler.sample("policy", PROMPTS, SETTINGS))

    assert after == tokens(EngineSampler(roles, "quantized").sample("policy", PROMPTS, SETTINGS)) != before
    assert made == [roles]


@pytest.fixture
def no_memory(monkeypatch):
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**20 // 10))


def test_without_memory_auto_computes_with_the_base_itself(no_memory, monkeypatch):
    roles = make_roles()
    monkeypatch.setattr(
        merged.MergedModel, "__init__", lambda self, roles: pytest.fail("a merged model was made")
    )

    assert EngineSampler(roles).sample("policy", PROMPTS, SETTINGS)


def test_merged_weights_without_memory_are_an_error_with_the_figures(no_memory):
    with pytest.raises(
        UserError,
        match=r"no room for merged weights on cpu: \d+\.\d GiB are needed .*, "
        r"0\.0 GiB are free",
    ):
        EngineSampler(make_roles(), "merged").sample("policy", PROMPTS, SETTINGS)


def test_a_bare_unquantized_base_is_not_copied(monkeypatch):
    monkeypatch.setattr(
        merged.MergedModel, "__init__", lambda self, roles: pytest.fail("a merged model was made")
    )

    assert EngineSampler(make_roles(), "merged").sample("reference", PROMPTS, SETTINGS)


def test_adapters_of_experts_are_sampled_through_the_base_and_never_merged(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "qwen3_moe", Qwen3MoeConfig)
    roles = make_roles(
        architecture="qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32
    )
    with roles.active("policy") as model:
        expected = sample(model, PROMPTS, SETTINGS, eos={1, 2}, pad=2)

    assert tokens(EngineSampler(roles).sample("policy", PROMPTS, SETTINGS)) == tokens(expected)
    with pytest.raises(UserError, match="experts cannot be merged"):
        EngineSampler(roles, "merged").sample("policy", PROMPTS, SETTINGS)


def test_end_of_turn_of_the_chat_template_ends_a_sample():
    roles = make_roles(CHATML)
    end_of_turn = roles.base.tokenizer.convert_tokens_to_ids("<|im_end|>")
    drawn = EngineSampler(roles).sample(
        "policy", PROMPTS, replace(SETTINGS, per_prompt=200, max_tokens=6, temperature=3.0)
    )
    ended = [one for of_prompt in drawn for one in of_prompt if end_of_turn in one.tokens]

    assert end_of_turn in EngineSampler(roles).ends
    assert ended
    assert all(one.finished and one.tokens.index(end_of_turn) == len(one.tokens) - 1 for one in ended)


def test_stop_strings_are_looked_for_in_the_tokenizers_text():
    roles = make_roles()
    [[free], _] = EngineSampler(roles).sample("policy", PROMPTS, replace(SETTINGS, per_prompt=1))
    stop = "".join(roles.base.tokenizer.decode([token]) for token in free.tokens[2:4]).strip(
        "\N{REPLACEMENT CHARACTER}"
    )
    [[one], _] = EngineSampler(roles).sample("policy", PROMPTS, replace(SETTINGS, per_prompt=1, stop=(stop,)))

    assert stop
    assert one.finished
    assert one.tokens == free.tokens[: len(one.tokens)]
    assert stop in roles.base.tokenizer.decode(one.tokens)
    assert stop not in roles.base.tokenizer.decode(one.tokens[:-1])


def test_progress_and_numbers_reach_the_engine():
    roles, seen = make_roles(), []
    sampler = EngineSampler(roles)
    expected = sampler.sample("policy", PROMPTS, SETTINGS, progress=lambda *done: seen.append(done))

    assert (seen[0], seen[-1]) == ((0, 2), (2, 2))
    assert tokens(sampler.sample("policy", PROMPTS[1:], SETTINGS, numbers=[1])) == tokens(expected[1:])
