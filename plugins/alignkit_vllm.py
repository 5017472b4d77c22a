"""The sampler `vllm`: completions drawn by vLLM, which keeps a copy of the base of its own on the GPU and
applies the adapter itself.

    Kwon et al. (2023). Efficient Memory Management for Large Language Model Serving with PagedAttention.
    arXiv:2309.06180.

A role's adapter is written to a temporary folder at each call and given to vLLM under a new name and number,
since vLLM keeps what it computed for an old one. A base in nf4 is quantized by vLLM in the same way
(bitsandbytes), so that it samples from the model that trains. Written for the interface of vLLM 0.26, and
tested against a stand-in only that has this interface: never yet with vLLM itself. Deviation: a seed gives
the same samples only while vLLM puts the same requests into the same batches.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alignkit import Drawn, Sampler, Sampling, UserError, hookimpl

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM has kernels for
# how bitsandbytes calls a base's, and what vLLM calls doing the same while it loads
QUANTIZATIONS = {"nf4": "bitsandbytes"}


class VllmSampler(Sampler):
    """vLLM on the GPU that trains, in half of the memory that is free when it starts."""

    name = "vllm"
    share = 0.5

    def __init__(self, roles: Any, weights: Any = "auto") -> None:
        super().__init__(roles, weights)
        if weights == "merged":
            raise UserError(
                "vLLM merges no adapter", hint='Leave the weights "auto", or use the sampler engine.'
            )
        self._calls = 0
        self._loaded: Any = None

    @classmethod
    def missing(cls) -> str | None:
        """Whether the package is there; it is not imported."""
        return (
            None
            if importlib.util.find_spec("vllm")
            else ("the package vllm is not installed: pip install vllm (Linux, CUDA)")
        )

    def sample(
        self,
        role: str,
        prompts: list[list[int]],
        settings: Sampling,
        *,
        numbers: Any = None,
        progress: Any = None,
    ) -> list[list[Drawn]]:
        """Completion k of prompt i at [i][k]; vLLM makes its own batches, so `settings.batch_size` has no
        part in it.
        """
        from vllm.inputs import TokensPrompt  # pyright: ignore[reportMissingImports]

        numbers = range(len(prompts)) if numbers is None else numbers
        requests = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts]
        params = [self._params(settings, number) for number in numbers]
        with TemporaryDirectory() as folder:
            outputs = self._llm.generate(
                requests, params, lora_request=self._adapter(role, Path(folder)), use_tqdm=False
            )
        if progress is not None:
            progress(len(prompts), len(prompts))
        completions = [
            [_drawn(one) for one in sorted(output.outputs, key=lambda one: one.index)] for output in outputs
        ]
        return (
            completions
            if settings.temperature > 0
            else [of_prompt * settings.per_prompt for of_prompt in completions]
        )

    @property
    def _llm(self) -> Any:
        """vLLM's engine, started when first needed."""
        if self._loaded is None:
            from vllm import LLM  # pyright: ignore[reportMissingImports]

            config = self.roles.base.model.config
            self._loaded = LLM(
                model=self.roles.base.model.name_or_path,
                revision=getattr(config, "_commit_hash", None),
                dtype=str(self.roles.base.dtype).removeprefix("torch."),
                logprobs_mode="raw_logprobs",  # of the model itself, before the temperature and the cuts
                **self._quantization(config),
                **self._lora(),
                **self._memory(),
            )
        return self._loaded

    def _quantization(self, config: Any) -> dict[str, Any]:
        """How vLLM is to quantize the base; as it is where it is not quantized."""
        method = getattr(getattr(config, "quantization_config", None), "quantization_method", lambda: None)()
        if method is None:
            return {}
        if method not in QUANTIZATIONS:
            raise UserError(
                f"vLLM cannot quantize a base as this one is ({method})",
                where="model.quantization",
                hint="Use nf4 or none, or the sampler engine.",
            )
        return {"quantization": QUANTIZATIONS[method]}

    def _lora(self) -> dict[str, Any]:
        """Room for one adapter at a time, of the largest rank among the roles'."""
        configs = getattr(self.roles.model, "peft_config", {})
        if not configs:
            return {}
        most = max(config.r for config in configs.values())
        if most > RANKS[-1]:
            raise UserError(
                f"vLLM takes adapters of rank {RANKS[-1]} at most, found {most}", where="model.lora.r"
            )
        return {
            "enable_lora": True,
            "max_loras": 1,
            "max_lora_rank": next(rank for rank in RANKS if rank >= most),
        }

    def _memory(self) -> dict[str, Any]:
        """vLLM counts in shares of the whole memory, of which training holds a part already."""
        import torch

        if self.roles.base.device.type != "cuda":
            return {}
        free, total = torch.cuda.mem_get_info(self.roles.base.device)
        return {"gpu_memory_utilization": self.share * free / total}

    def _adapter(self, role: str, folder: Path) -> Any:
        """The role's adapter as it is now, for vLLM to read; None for the bare base."""
        if self.roles.roles[role].adapter is None:
            return None
        from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]

        self._calls += 1
        self.roles.save(role, folder)
        return LoRARequest(f"{role}-{self._calls}", self._calls, str(folder))

    def _params(self, settings: Sampling, number: int) -> Any:
        from numpy.random import SeedSequence
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        # vLLM adds a sample's place to its prompt's seed, so the prompts' seeds must lie far apart; it wants
        # them below 2⁶³.
        seed = int(SeedSequence([settings.seed, settings.step, number]).generate_state(1, "uint64")[0]) >> 2
        return SamplingParams(
            # vLLM refuses to take the likeliest tokens more than once
            n=settings.per_prompt if settings.temperature > 0 else 1,
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            min_p=settings.min_p,
            min_tokens=settings.min_tokens,
            max_tokens=settings.max_tokens,
            stop=list(settings.stop),
            stop_token_ids=sorted(self.ends),
            include_stop_str_in_output=True,
            seed=seed,
            logprobs=0,  # of the token drawn, and of no other
            detokenize=bool(settings.stop),
            skip_special_tokens=False,
        )


def _drawn(completion: Any) -> Drawn:
    """A completion of vLLM's."""
    tokens = list(completion.token_ids)
    logps = [known[token].logprob for token, known in zip(tokens, completion.logprobs, strict=True)]
    return Drawn(tokens, logps, finished=completion.finish_reason == "stop")


@hookimpl
def register_samplers(register: Any) -> None:
    """Register `vllm`."""
    register(VllmSampler)
