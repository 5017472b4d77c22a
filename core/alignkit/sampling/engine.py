"""The rollout engine: K samples of each prompt from a causal language model.

A prompt is computed once for its K samples, a beginning that all prompts of a batch share (a system prompt)
once for the batch, and finished samples leave the batch. Dimensions: G prompts of a batch, N = G·K samples, B
samples still in the batch, L columns of the key-value cache, T new tokens at most, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alignkit.sampler import Drawn, Sampling
from alignkit.sampling.cache import growing_cache, is_plain
from alignkit.sampling.choosing import choose
from alignkit.sampling.stopping import StopWatch

# the share of finished samples at which copying the cache costs less than computing them further
LEAVE = 1 / 8


def sample(
    model: nn.Module,
    prompts: list[list[int]],
    settings: Sampling,
    *,
    eos: set[int],
    pad: int,
    text: Callable[[list[int]], str] | None = None,
    numbers: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[Drawn]]:
    """Completion k of prompt i at [i][k].

    model: a causal language model of transformers with the adapters to sample from active; its training flags
    come back as they were. eos: ids that end a sample. pad: any valid id, never attended to. text: decodes
    ids, needed with stop strings. numbers: each prompt's own number, its place in `prompts` where None.
    progress(done, total) counts prompts. A sample depends on (seed, step, number, k) alone, but for rounding:
    in other batches the logits differ in their last bits, and of a vocabulary of 49,000 one draw in some 400
    then falls on another rare token (fp32). The same batches give the same bits.
    """
    for i, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(
                f"prompt {i} has no tokens; a model needs at least one to continue, e.g. "
                "beginning-of-sequence"
            )
    if settings.stop and (text is None or not all(settings.stop)):
        raise ValueError(
            "stop strings need `text` to decode ids, and at least one character each; found "
            f"{settings.stop!r}"
        )
    numbers = range(len(prompts)) if numbers is None else numbers
    if len(numbers) != len(prompts):
        raise ValueError(f"found {len(numbers)} numbers for {len(prompts)} prompts")
    copies = settings.per_prompt if settings.temperature > 0 else 1  # greedy samples are all the same
    # what does not fit fails at once
    longest_first = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    samples: list[list[Drawn]] = [[] for _ in prompts]
    done = 0
    with _inference(model):
        for start in range(0, len(prompts), settings.batch_size):
            index = longest_first[start : start + settings.batch_size]
            uniforms = _uniforms(settings, [numbers[i] for i in index], copies)
            drawn = _sample_batch(model, [prompts[i] for i in index], uniforms, settings, eos, pad, text)
            for place, i in enumerate(index):
                of_prompt = drawn[place * copies : (place + 1) * copies]
                samples[i] = (
                    of_prompt
                    if copies == settings.per_prompt
                    else [deepcopy(of_prompt[0]) for _ in range(settings.per_prompt)]
                )
            done += len(index)
            if progress is not None:
                progress(done, len(prompts))
    return samples


def _sample_batch(
    model: nn.Module,
    prompts: list[list[int]],
    uniforms: Tensor,
    settings: Sampling,
    eos: set[int],
    pad: int,
    text: Callable[[list[int]], str] | None,
) -> list[Drawn]:
    """The N = G·K completions of G prompts, those of a prompt side by side. uniforms (N, T) in [0, 1)."""
    device = next(model.parameters()).device
    copies = len(uniforms) // len(prompts)
    logits, mask, cache = _prefill(model, prompts, pad, settings.max_tokens, device)
    cache.batch_repeat_interleave(copies)
    logits, mask = logits.repeat_interleave(copies, 0), mask.repeat_interleave(copies, 0)  # (N, V), (N, L)
    ends = torch.tensor(sorted(end for end in eos if end < logits.shape[-1]), dtype=torch.long, device=device)
    uniforms = uniforms.to(device)
    tokens = torch.full_like(uniforms, pad, dtype=torch.long)  # (N, T)
    logps = torch.zeros_like(uniforms)  # (N, T)
    rows = torch.arange(len(uniforms), device=device)  # (B,): the sample in each place of the batch
    lengths = torch.zeros_like(rows)  # (N,): tokens of the samples that ended, 0 for the others
    finished = torch.zeros_like(rows, dtype=torch.bool)  # (B,)
    watches = (
        [StopWatch(settings.stop, text) for _ in range(len(rows))]
        if settings.stop and text is not None
        else []
    )
    for step in range(settings.max_tokens):
        early = step < settings.min_tokens
        # (B,)
        chosen, logps[rows, step] = choose(
            logits, uniforms[rows, step], settings, never=ends if early else None
        )
        tokens[rows, step] = chosen
        ended = torch.isin(chosen, ends)
        if watches:
            ended |= _stopped(watches, rows, chosen, finished) & (not early)
        lengths[rows] = torch.where(ended & ~finished, step + 1, lengths[rows])
        finished |= ended
        left = len(rows) - int(finished.sum())
        if left == 0 or step + 1 == settings.max_tokens:
            break
        if left <= (1 - LEAVE) * len(rows):
            keep = (~finished).nonzero()[:, 0]
            cache.batch_select_indices(keep)
            rows, mask, chosen, finished = rows[keep], mask[keep], chosen[keep], finished[keep]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
        logits = _last_logits(model, chosen[:, None], mask, cache)
    return [
        Drawn(ids[: length or None], values[: length or None], length > 0)
        for ids, values, length in zip(tokens.tolist(), logps.tolist(), lengths.tolist(), strict=True)
    ]


def _stopped(watches: list[StopWatch], rows: Tensor, chosen: Tensor, finished: Tensor) -> Tensor:
    """Which of the samples that are not finished complete a stop string with the token just chosen, (B,)."""
    batch = zip(rows.tolist(), chosen.tolist(), finished.tolist(), strict=True)
    return torch.tensor(
        [not done and watches[row].completes(token) for row, token, done in batch], device=rows.device
    )


def _prefill(
    model: nn.Module, prompts: list[list[int]], pad: int, room: int, device: torch.device
) -> tuple[Tensor, Tensor, Any]:
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
    """Logits (B, V) after the last of `tokens` (B, L'), the newest columns of `mask` (B, L); the cache takes
    them in.
    """
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    output = model(
        input_ids=tokens,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1]


def _uniforms(settings: Sampling, numbers: list[int], copies: int) -> Tensor:
    """One number in [0, 1) for each token of each sample, (N, T), a function of (seed, step, number, sample,
    position) alone.
    """
    streams = [
        np.random.default_rng([settings.seed, settings.step, number, k])
        for number in numbers
        for k in range(copies)
    ]
    return torch.from_numpy(
        np.stack([stream.random(settings.max_tokens, dtype=np.float32) for stream in streams])
    )


@contextmanager
def _inference(model: nn.Module) -> Iterator[None]:
    """No gradient, no dropout; every module's training flag is restored.

    Layers of bitsandbytes keep their flag: on some CPUs they repack their weights for good when first used in
    eval mode.
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
