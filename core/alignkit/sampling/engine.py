"""The rollout engine: draws K samples of each prompt from a causal language model.

A prompt is computed once for its K samples. A beginning that all prompts of a batch share, such as a system
prompt, is computed once for the batch. Finished samples leave the batch. Dimensions: G prompts of a batch,
N = G·K samples, T new tokens at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from alignkit.progress import Progress
from alignkit.sampler import Drawn, Sampling
from alignkit.sampling.context import Context
from alignkit.sampling.drawing import SamplesInProgress


def sample(
    model: nn.Module,
    prompts: list[list[int]],
    settings: Sampling,
    *,
    eos: set[int],
    pad: int,
    text: Callable[[list[int]], str] | None = None,
    numbers: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[list[Drawn]]:
    """Return completion k of prompt i at [i][k].

    model: a causal language model of transformers, with the adapters to sample from active; its training
    flags are restored afterwards. eos: ids that end a sample. pad: any valid id; it is never attended to.
    text: decodes ids, needed with stop strings. numbers: each prompt's own number; None means its place in
    `prompts`. progress(done, total) counts prompts; of a batch that is under way, as many as its share of the
    tokens that were drawn, or are not needed any more.

    A sample depends on (seed, step, number, k) alone, except for rounding. In a batch of other prompts the
    logits differ in their last bits. With a vocabulary of 49,000, about one draw in 400 then falls on another
    rare token (fp32). The same batches give the same bits.

    Raises ValueError for a prompt without tokens, for stop strings that cannot be looked for, and where
    `numbers` and `prompts` differ in length.
    """
    numbers = range(len(prompts)) if numbers is None else numbers
    _require_usable(prompts, numbers, settings, text)
    # Greedy samples of a prompt are all the same.
    draws = settings.per_prompt if settings.temperature > 0 else 1
    # The longest first, so that memory that does not suffice is noticed at once.
    longest_first = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    samples: list[list[Drawn]] = [[] for _ in prompts]
    done = 0
    with _inference(model):
        for start in range(0, len(prompts), settings.batch_size):
            index = longest_first[start : start + settings.batch_size]
            uniforms = _uniforms(settings, [numbers[i] for i in index], draws)
            within = partial(_count, progress, done, len(index), len(prompts))
            drawn = _sample_batch(
                model, [prompts[i] for i in index], uniforms, settings, eos, pad, text, within
            )
            for place, i in enumerate(index):
                samples[i] = drawn[place * draws : (place + 1) * draws]
                samples[i] += [deepcopy(samples[i][0]) for _ in range(settings.per_prompt - draws)]
            done += len(index)
            within(1.0)
    return samples


def _count(progress: Progress | None, done: int, batch: int, total: int, share: float) -> None:
    """Tell how many prompts are done, of which `batch` are under way and a share of them is done."""
    if progress is not None:
        progress(done + int(batch * share), total)


def _require_usable(
    prompts: list[list[int]],
    numbers: Sequence[int],
    settings: Sampling,
    text: Callable[[list[int]], str] | None,
) -> None:
    for i, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(
                f"prompt {i} has no tokens; a model needs at least one token to continue, for example "
                "beginning-of-sequence"
            )
    if settings.stop and (text is None or not all(settings.stop)):
        raise ValueError(
            "stop strings need `text` to decode ids, and each needs at least one character; found "
            f"{settings.stop!r}"
        )
    if len(numbers) != len(prompts):
        raise ValueError(f"found {len(numbers)} numbers for {len(prompts)} prompts; expected one per prompt")


def _sample_batch(
    model: nn.Module,
    prompts: list[list[int]],
    uniforms: Tensor,
    settings: Sampling,
    eos: set[int],
    pad: int,
    text: Callable[[list[int]], str] | None,
    within: Callable[[float], None],
) -> list[Drawn]:
    """Return the N completions of G prompts, those of a prompt side by side.

    uniforms (N, T) in [0, 1). within: takes the share that is done, after each token.
    """
    within(0.0)
    context = Context(model, prompts, pad=pad, room=settings.max_tokens)
    context.repeat(len(uniforms) // len(prompts))
    known = sorted(end for end in eos if end < context.logits.shape[-1])
    ends = torch.tensor(known, dtype=torch.long, device=context.device)
    drawing = SamplesInProgress(uniforms.to(context.device), settings, ends=ends, pad=pad, text=text)
    for _ in range(settings.max_tokens):
        drawing.draw(context.logits)
        if drawing.done:
            break
        within(drawing.share)
        staying = drawing.leave()
        context.append(drawing.newest, keep=staying)
    return drawing.samples()


def _uniforms(settings: Sampling, numbers: list[int], draws: int) -> Tensor:
    """Return one number in [0, 1) for each token of each sample, (N, T).

    It is a function of (seed, step, number, sample, position) alone.
    """
    streams = [
        np.random.default_rng([settings.seed, settings.step, number, k])
        for number in numbers
        for k in range(draws)
    ]
    return torch.from_numpy(
        np.stack([stream.random(settings.max_tokens, dtype=np.float32) for stream in streams])
    )


@contextmanager
def _inference(model: nn.Module) -> Iterator[None]:
    """Switch gradients and dropout off; restore every module's training flag afterwards.

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
