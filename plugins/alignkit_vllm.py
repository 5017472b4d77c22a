"""Defines the sampler `vllm`: vLLM draws completions with its own copy of the base, and applies the adapter.

Source: Kwon et al. (2023). Efficient Memory Management for Large Language Model Serving with PagedAttention.
arXiv:2309.06180.

A role's adapter is written to a temporary folder at each call. vLLM gets it under a new name and number,
because vLLM keeps what it computed for an old one. vLLM quantizes a base in nf4 in the same way
(bitsandbytes), so that it samples from the model that trains. The plugin is written for the interface of vLLM
0.26. It is tested only with a replacement that has this interface, and never yet with vLLM itself.

Deviation from the engine's sampler: a seed gives the same samples only where vLLM puts the same requests into
the same batches.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alignkit import Drawn, Sampler, Sampling, UserError, hookimpl

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM has kernels for
# by the name of the base's quantization in transformers: its name in vLLM
QUANTIZATIONS = {"nf4": "bitsandbytes"}
BLOCK_SIZE = 64  # the only one that vLLM quantizes with


class VllmSampler(Sampler):
    """Samples with vLLM on the GPU that trains, in half of the memory that is free when vLLM starts."""

    name = "vllm"
    share = 0.5

    def __init__(self, roles: Any, weights: Any = "auto") -> None:
        super().__init__(roles, weights)
        if weights == "merged":
            raise UserError(
                "vLLM cannot merge an adapter", hint="Use the weights `auto`, or the sampler `engine`."
            )
        self._calls = 0
        self._loaded: Any = None

    @classmethod
    def missing(cls) -> str | None:
        """Return how to install vLLM where it is missing. The package is not imported."""
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
        """Return completion k of prompt i at [i][k].

        vLLM makes its own batches, so `settings.batch_size` has no effect.
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
        """Return vLLM's engine, which is started when it is first needed."""
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
        """Return the settings by which vLLM quantizes the base as it is quantized here."""
        method = getattr(getattr(config, "quantization_config", None), "quantization_method", lambda: None)()
        if method is None:
            return {}
        if method not in QUANTIZATIONS:
            raise UserError(
                f"vLLM cannot quantize a base in this way ({method})",
                where="model.quantization",
                hint="Use nf4 or none, or the sampler `engine`.",
            )
        size = getattr(config.quantization_config, "block_size", BLOCK_SIZE)
        if size != BLOCK_SIZE:
            raise UserError(
                f"vLLM quantizes a base in blocks of {BLOCK_SIZE}, found {size}",
                where="model.block_size",
                hint=f"Use {BLOCK_SIZE}, or the sampler `engine`.",
            )
        return {"quantization": QUANTIZATIONS[method]}

    def _lora(self) -> dict[str, Any]:
        """Return the settings that give room for one adapter, of the largest rank among the roles."""
        configs = getattr(self.roles.model, "peft_config", {})
        if not configs:
            return {}
        if any(config.use_dora for config in configs.values()):
            raise UserError(
                "vLLM cannot compute DoRA adapters",
                where="model.lora.use_dora",
                hint="Use the sampler `engine`.",
            )
        most = max(max((config.r, *config.rank_pattern.values())) for config in configs.values())
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
        """Return the share of the GPU's whole memory that vLLM may use.

        Training holds a part of the memory already.
        """
        import torch

        if self.roles.base.device.type != "cuda":
            return {}
        free, total = torch.cuda.mem_get_info(self.roles.base.device)
        return {"gpu_memory_utilization": self.share * free / total}

    def _adapter(self, role: str, folder: Path) -> Any:
        """Write the role's adapter as it is now, and return vLLM's request for it; None for the bare base."""
        if self.roles.roles[role].adapter is None:
            return None
        from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]

        self._calls += 1
        self.roles.save(role, folder)
        return LoRARequest(f"{role}-{self._calls}", self._calls, str(folder))

    def _params(self, settings: Sampling, number: int) -> Any:
        from numpy.random import SeedSequence
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        # vLLM adds a sample's place to its prompt's seed, so the seeds of the prompts must be far apart. They
        # must also be below 2⁶³.
        seed = int(SeedSequence([settings.seed, settings.step, number]).generate_state(1, "uint64")[0]) >> 2
        return SamplingParams(
            # vLLM refuses to draw the same greedy completion more than once
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
            logprobs=0,  # only of the token that is drawn
            detokenize=bool(settings.stop),
            skip_special_tokens=False,
        )


def _drawn(completion: Any) -> Drawn:
    """Return a completion of vLLM as alignkit's."""
    tokens = list(completion.token_ids)
    logps = [known[token].logprob for token, known in zip(tokens, completion.logprobs, strict=True)]
    return Drawn(tokens, logps, finished=completion.finish_reason == "stop")


@hookimpl
def register_samplers(register: Any) -> None:
    """Register the sampler `vllm`."""
    register(VllmSampler)
