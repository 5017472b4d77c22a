"""The rollout engine: K samples of each prompt from a causal language model.

A prompt is computed once for its K samples, a beginning that all prompts of a batch share (a system prompt) once for the
batch, and finished samples leave the batch. Dimensions: G prompts of a batch, N = G·K samples, B samples still in the batch,
L columns of the key-value cache, T new tokens at most, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alignkit.sampling.cache import growing_cache, is_plain

LEAVE = 1 / 8  # the share of finished samples at which copying the cache costs less than computing them further


@dataclass(frozen=True)
class Sampling:
    """How to sample. `batch_size` counts prompts computed together; temperature 0 takes the likeliest token."""

    per_prompt: int = 4
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 128
    seed: int = 0
    batch_size: int = 64


def sample(
    model: nn.Module,
    prompts: list[list[int]],
    settings: Sampling,
    *,
    eos: set[int],
    pad: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[list[int]]]:
    """Token ids of sample k of prompt i at [i][k], end-of-sequence included where the model produced it.

    model: a causal language model of transformers with the adapters to sample from active; its training flags come back
    as they were. eos: ids that end a sample. pad: any valid id, never attended to. progress(done, total) counts prompts.
    A sample depends on (seed, i, k) alone, but for rounding: in other batches the logits differ in their last bits, and of
    a vocabulary of 49,000 one draw in some 400 then falls on another rare token (fp32). The same batches give the same bits.
    """
    for i, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(f"prompt {i} has no tokens; a model needs at least one to continue, e.g. beginning-of-sequence")
    copies = settings.per_prompt if settings.temperature > 0 else 1  # greedy samples are all the same
    longest_first = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))  # what does not fit fails at once
    samples: list[list[list[int]]] = [[] for _ in prompts]
    done = 0
    with _inference(model):
        for start in range(0, len(prompts), settings.batch_size):
            index = longest_first[start : start + settings.batch_size]
            uniforms = _uniforms(settings, index, copies)
            completions = _sample_batch(model, [prompts[i] for i in index], uniforms, settings, eos, pad)
            for place, i in enumerate(index):
                of_prompt = completions[place * copies : (place + 1) * copies]
                samples[i] = of_prompt if copies == settings.per_prompt else [list(of_prompt[0]) for _ in range(settings.per_prompt)]
            done += len(index)
            if progress is not None:
                progress(done, len(prompts))
    return samples


def _sample_batch(
    model: nn.Module, prompts: list[list[int]], uniforms: Tensor, settings: Sampling, eos: set[int], pad: int
) -> list[list[int]]:
    """The N = G·K completions of G prompts, those of a prompt side by side. uniforms (N, T) in [0, 1)."""
    device = next(model.parameters()).device
    copies = len(uniforms) // len(prompts)
    logits, mask, cache = _prefill(model, prompts, pad, settings.max_tokens, device)
    cache.batch_repeat_interleave(copies)
    logits, mask = logits.repeat_interleave(copies, 0), mask.repeat_interleave(copies, 0)  # (N, V), (N, L)
    ends, uniforms = torch.tensor(sorted(eos), device=device), uniforms.to(device)
    tokens = torch.full_like(uniforms, pad, dtype=torch.long)  # (N, T)
    rows = torch.arange(len(uniforms), device=device)  # (B,): the sample in each place of the batch
    finished = torch.zeros_like(rows, dtype=torch.bool)  # (B,)
    for step in range(settings.max_tokens):
        chosen = choose(logits, uniforms[rows, step], settings.temperature, settings.top_p)  # (B,)
        tokens[rows, step] = chosen
        finished |= torch.isin(chosen, ends)
        left = len(rows) - int(finished.sum())
        if left == 0 or step + 1 == settings.max_tokens:
            break
        if left <= (1 - LEAVE) * len(rows):
            keep = (~finished).nonzero()[:, 0]
            cache.batch_select_indices(keep)
            rows, mask, chosen, finished = rows[keep], mask[keep], chosen[keep], finished[keep]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
        logits = _last_logits(model, chosen[:, None], mask, cache)
    return [_until_end(completion, eos) for completion in tokens.tolist()]


def choose(logits: Tensor, uniform: Tensor, temperature: float, top_p: float) -> Tensor:
    """One token id a row, (B,), by inverting the cumulative distribution of softmax(logits / temperature) at `uniform`.

    logits (B, V); uniform (B,) in [0, 1). top_p keeps the fewest likeliest tokens whose probability reaches it
    (Holtzman et al., 2020, arXiv:1904.09751). Temperature 0 takes the likeliest token.
    """
    if temperature == 0:
        return logits.argmax(-1)
    # In place where possible: fresh memory of this size costs more than the arithmetic.
    weights = (logits.float() - logits.amax(-1, keepdim=True)).div_(temperature).exp_()  # (B, V): probabilities up to a factor
    if top_p < 1:
        weights = _nucleus(weights, top_p)
    cumulative = weights.cumsum_(-1)
    total = cumulative[:, -1:]
    # Strictly below the total, whatever the rounding, so that the token found has a probability above 0.
    target = torch.minimum(uniform[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target, right=True)[:, 0]


def _nucleus(weights: Tensor, top_p: float) -> Tensor:
    """`weights` (B, V), changed in place, with 0 outside the nucleus. Tokens as likely as its least likely one stay too."""
    total = weights.sum(-1, keepdim=True)  # (B, 1)
    # Tokens below this share have less than 1 - top_p together, so none is in the nucleus: sorting all V would be slow.
    rows, tokens = (weights >= total * ((1 - top_p) / weights.shape[-1])).nonzero(as_tuple=True)
    count = torch.bincount(rows, minlength=len(weights))
    place = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[rows]
    candidates = weights.new_zeros(len(weights), int(count.max()))
    candidates[rows, place] = weights[rows, tokens]
    candidates = candidates.sort(-1, descending=True).values
    likelier = candidates.cumsum(-1) - candidates  # what the tokens before each have together
    least = candidates.masked_fill(likelier >= total * top_p, math.inf).amin(-1, keepdim=True)
    return weights.masked_fill_(weights < least, 0.0)


def _prefill(model: nn.Module, prompts: list[list[int]], pad: int, room: int, device: torch.device) -> tuple[Tensor, Tensor, Any]:
    """Logits (G, V) of each prompt's next token, the mask (G, L) of the cache's columns, and the cache.

    The common beginning stands first, then padding, then each prompt's own tokens.
    """
    cache = growing_cache(model.config, max(map(len, prompts)) + room)
    # Sliding windows count columns, padding included: there the padding must come before everything.
    shared = _common_beginning(prompts) if len(prompts) > 1 and is_plain(cache) else 0
    width = max(map(len, prompts)) - shared
    own = torch.tensor([[pad] * (shared + width - len(p)) + p[shared:] for p in prompts], device=device)
    mask = torch.ones(len(prompts), shared + width, dtype=torch.long, device=device)
    for row, prompt in enumerate(prompts):
        mask[row, shared : shared + width - (len(prompt) - shared)] = 0
    if shared:
        beginning = torch.tensor([prompts[0][:shared]], device=device)
        _last_logits(model, beginning, torch.ones_like(beginning), cache)
        cache.batch_repeat_interleave(len(prompts))
    return _last_logits(model, own, mask, cache), mask, cache


def _common_beginning(prompts: list[list[int]]) -> int:
    """How many tokens all prompts begin with; one token of the shortest is left, whose logits are needed."""
    first, last = min(prompts), max(prompts)  # in lexical order, these two differ the soonest
    most = min(map(len, prompts)) - 1
    return next((place for place in range(most) if first[place] != last[place]), most)


def _last_logits(model: nn.Module, tokens: Tensor, mask: Tensor, cache: Any) -> Tensor:
    """Logits (B, V) after the last of `tokens` (B, L'), the newest columns of `mask` (B, L); the cache takes them in."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    output = model(input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return output.logits[:, -1]


def _uniforms(settings: Sampling, index: list[int], copies: int) -> Tensor:
    """One number in [0, 1) for each token of each sample, (N, T), a function of (seed, prompt, sample, position) alone."""
    streams = [np.random.default_rng([settings.seed, i, k]) for i in index for k in range(copies)]
    return torch.from_numpy(np.stack([stream.random(settings.max_tokens, dtype=np.float32) for stream in streams]))


def _until_end(tokens: list[int], eos: set[int]) -> list[int]:
    """The tokens up to the first end-of-sequence, included."""
    end = next((place for place, token in enumerate(tokens) if token in eos), len(tokens) - 1)
    return tokens[: end + 1]


@contextmanager
def _inference(model: nn.Module) -> Iterator[None]:
    """No gradient, no dropout; every module's training flag is restored.

    Layers of bitsandbytes keep their flag: on some CPUs they repack their weights for good when first used in eval mode.
    """
    flags = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in flags:
            if not any(cls.__module__.startswith("bitsandbytes") for cls in type(module).__mro__):
                module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, training in flags:
            module.training = training
