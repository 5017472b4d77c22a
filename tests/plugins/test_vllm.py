"""The sampler `vllm`, with a stand-in for the package that takes vLLM 0.26's arguments and refuses others."""

import sys
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import shake, tiny_model
from tiny_tokenizers import byte_tokenizer
from transformers import BitsAndBytesConfig

from alignkit import Drawn, Sampling, UserError, recipe
from alignkit.models.base import Base
from alignkit.models.blocks import BlockConfig
from alignkit.models.roles import Roles
from alignkit_vllm import VllmSampler

PROMPTS = [[10, 20, 30], [40, 50]]
SETTINGS = Sampling(per_prompt=2, max_tokens=6, seed=3)


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: list[str] | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    include_stop_str_in_output: bool = False

    def __post_init__(self):
        assert self.n == 1 or self.temperature > 0, "n must be 1 when using greedy sampling"
        assert not self.stop or self.detokenize, "stop strings are only supported when detokenize is True"
        assert 0 <= self.seed < 2**63


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str
    weights: dict = field(default_factory=dict)

    def __post_init__(self):
        assert self.lora_int_id > 0
        assert Path(self.lora_path, "adapter_config.json").is_file()
        self.weights = load_file(Path(self.lora_path, "adapter_model.safetensors"))


@dataclass
class LLM:
    model: str
    revision: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    gpu_memory_utilization: float = 0.92
    enable_lora: bool = False
    max_loras: int = 1
    max_lora_rank: int = 16
    logprobs_mode: str = "raw_logprobs"
    started = []

    def __post_init__(self):
        assert self.max_lora_rank in (1, 8, 16, 32, 64, 128, 256, 320, 512)
        self.started.append(self)
        self.calls = []

    def generate(self, prompts, sampling_params, *, use_tqdm=True, lora_request=None):
        self.calls.append(SimpleNamespace(prompts=prompts, params=sampling_params, lora=lora_request))
        assert len(prompts) == len(sampling_params)
        return [
            SimpleNamespace(outputs=[output(k) for k in reversed(range(params.n))])
            for params in sampling_params
        ]


def output(index):
    """The completion (100 + index, 7): ended by itself for index 0, cut off for others."""
    tokens = (100 + index, 7)
    logprobs = [{token: SimpleNamespace(logprob=-token / 10, rank=1, decoded_token=None)} for token in tokens]
    return SimpleNamespace(
        index=index, token_ids=tokens, logprobs=logprobs, finish_reason="stop" if index == 0 else "length"
    )


@pytest.fixture
def vllm(monkeypatch):
    contents = {
        "vllm": {"LLM": LLM, "SamplingParams": SamplingParams},
        "vllm.inputs": {"TokensPrompt": dict},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": LoRARequest},
    }
    for name, members in contents.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(LLM, "started", [])
    return LLM.started


def make_roles(r=4, lora=None, **config):
    tokenizer = byte_tokenizer()
    model = tiny_model(vocab_size=len(tokenizer)).requires_grad_(False)
    model.name_or_path = "our/base"
    vars(model.config).update(config)
    roles = Roles(
        Base(model, tokenizer, torch.bfloat16, torch.device("cpu"), "the test says so"),
        recipe.Lora(r=r, **(lora or {})),
        seed=0,
    )
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    return roles


def test_where_vllm_is_not_installed_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert VllmSampler.missing() == "the package vllm is not installed: pip install vllm (Linux, CUDA)"


def test_where_vllm_is_installed_nothing_is_missing_and_nothing_started(vllm):
    assert VllmSampler.missing() is None
    VllmSampler(make_roles())
    assert vllm == []


def test_the_engine_is_started_once_on_the_runs_base(vllm):
    sampler = VllmSampler(make_roles(r=17, _commit_hash="abc"))
    for role in ("policy", "reference"):
        sampler.sample(role, PROMPTS, SETTINGS)
    [engine] = vllm

    assert (engine.model, engine.revision, engine.dtype, engine.quantization) == (
        "our/base",
        "abc",
        "bfloat16",
        None,
    )
    assert (engine.enable_lora, engine.max_lora_rank, engine.logprobs_mode) == (True, 32, "raw_logprobs")
    assert len(engine.calls) == 2


def test_an_nf4_base_is_quantized_and_an_int8_base_refused(vllm):
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    VllmSampler(make_roles(quantization_config=nf4)).sample("policy", PROMPTS, SETTINGS)
    assert vllm[0].quantization == "bitsandbytes"

    with pytest.raises(
        UserError,
        match=r"model.quantization: vLLM cannot quantize a base in this way "
        r"\(llm_int8\)",
    ):
        VllmSampler(make_roles(quantization_config=BitsAndBytesConfig(load_in_8bit=True))).sample(
            "policy", PROMPTS, SETTINGS
        )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bnb_4bit_quant_type": "fp4"}, r"model.quantization: .* \(fp4\)"),
        ({"bnb_4bit_quant_type": "nf4", "block_size": 32}, "model.block_size: .* blocks of 64, found 32"),
    ],
)
def test_4_bits_that_vllm_would_quantize_otherwise_are_refused(vllm, settings, words):
    config = BlockConfig(load_in_4bit=True, **settings)
    with pytest.raises(UserError, match=words):
        VllmSampler(make_roles(quantization_config=config)).sample("policy", PROMPTS, SETTINGS)


def test_each_call_sends_the_adapter_as_it_is_under_a_new_name(vllm):
    roles = make_roles()
    sampler = VllmSampler(roles)
    sent = []
    for seed in (1, 2):
        shake(roles, "policy", seed)
        sampler.sample("policy", PROMPTS, SETTINGS)
        lora = vllm[0].calls[-1].lora
        sent.append((lora.lora_name, lora.lora_int_id))
        for key, weight in roles.state("policy").items():
            assert torch.equal(lora.weights[key], weight)
        assert not Path(lora.lora_path).exists()

    assert len({name for name, _ in sent}) == len({number for _, number in sent}) == 2


def test_the_bare_base_is_sampled_without_an_adapter(vllm):
    VllmSampler(make_roles()).sample("reference", PROMPTS, SETTINGS)

    assert vllm[0].calls[0].lora is None


def test_settings_reach_vllm(vllm):
    roles = make_roles()
    settings = Sampling(3, 0.7, 0.9, 40, 0.1, min_tokens=2, max_tokens=9, stop=("\n\n", "user:"))
    VllmSampler(roles).sample("policy", PROMPTS, settings)
    call = vllm[0].calls[0]
    params = replace(call.params[0], seed=0)

    assert call.prompts == [{"prompt_token_ids": prompt} for prompt in PROMPTS]
    assert params == SamplingParams(
        3,
        0.7,
        0.9,
        40,
        0.1,
        0,
        ["\n\n", "user:"],
        sorted({1, roles.base.tokenizer.eos_token_id}),
        9,
        2,
        0,
        True,
        False,
        True,
    )


def test_completions_come_back_in_their_order_with_log_probabilities(vllm):
    first, second = Drawn([100, 7], [-10.0, -0.7], True), Drawn([101, 7], [-10.1, -0.7], False)
    seen = []
    drawn = VllmSampler(make_roles()).sample(
        "policy", PROMPTS, SETTINGS, progress=lambda *done: seen.append(done)
    )

    assert drawn == [[first, second], [first, second]]
    assert seen == [(2, 2)]


def test_the_likeliest_tokens_are_asked_for_once_and_returned_for_each_sample(vllm):
    drawn = VllmSampler(make_roles()).sample(
        "policy", PROMPTS, replace(SETTINGS, temperature=0, per_prompt=3)
    )

    assert vllm[0].calls[0].params[0].n == 1
    assert [len(of_prompt) for of_prompt in drawn] == [3, 3]


def test_seeds_follow_seed_step_and_number_and_lie_far_apart(vllm):
    sampler = VllmSampler(make_roles())

    def seeds(settings, numbers=None):
        sampler.sample("policy", PROMPTS, settings, numbers=numbers)
        return [params.seed for params in vllm[0].calls[-1].params]

    base = seeds(SETTINGS)
    others = [*seeds(replace(SETTINGS, seed=4)), *seeds(replace(SETTINGS, step=1)), *seeds(SETTINGS, [2, 3])]
    assert seeds(SETTINGS, [1, 0]) == base[::-1]
    assert len({*base, *others}) == 8
    assert min(abs(a - b) for a in base for b in others) > 10_000, "vLLM adds a sample's place to the seed"


def test_there_is_room_for_the_largest_rank_of_any_layer(vllm):
    roles = make_roles(lora={"init_lora_weights": "olora", "rank_pattern": {"q_proj": 9}})
    VllmSampler(roles).sample("policy", PROMPTS, SETTINGS)
    assert vllm[0].max_lora_rank == 32, "twice 9, as the start is subtracted again"


def test_dora_is_refused(vllm):
    with pytest.raises(UserError, match=r"model\.lora\.use_dora: vLLM cannot compute DoRA"):
        VllmSampler(make_roles(lora={"use_dora": True})).sample("policy", PROMPTS, SETTINGS)


def test_merged_weights_are_refused():
    with pytest.raises(UserError, match="vLLM cannot merge an adapter"):
        VllmSampler(make_roles(), "merged")
