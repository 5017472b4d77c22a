"""Draws completions through a sampler, and checks what the sampler returns: it may be a plugin's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from alignkit.errors import UserError, named, raised_at
from alignkit.progress import Progress
from alignkit.sampler import Drawn, Sampler, Sampling

FIX = "Fix the plugin that registers it, or choose another sampler."
SMALLER = "Lower batch_size or max_tokens, or choose another sampler."


def draw(
    sampler: Sampler,
    role: str,
    prompts: list[list[int]],
    settings: Sampling,
    *,
    numbers: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[list[Drawn]]:
    """Return completion k of prompt i at [i][k]; see `Sampler.sample`.

    Raises UserError, which names the sampler, where it fails; where prompts or completions are missing; and
    for a completion that is empty, longer than `settings.max_tokens`, has ids outside the vocabulary, or has
    no finite log-probability for each token.
    """
    where = named("sampler", sampler.name, sampler.plugin)
    try:
        drawn = sampler.sample(role, prompts, settings, numbers=numbers, progress=progress)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"it failed on {len(prompts)} prompts: {type(error).__name__}: {error} "
            f"({raised_at(error, sampler.sample)})",
            where=where,
            hint=SMALLER if "out of memory" in str(error) else FIX,
        ) from error
    checked = _listed(drawn, len(prompts), "prompts", "it", where)
    vocabulary = sampler.roles.base.model.get_input_embeddings().num_embeddings
    for i, samples in enumerate(checked):
        of_prompt = f"prompt {i} of {len(prompts)}"
        for k, sample in enumerate(_listed(samples, settings.per_prompt, "completions", of_prompt, where)):
            wrong = _wrong(sample, settings.max_tokens, vocabulary)
            if wrong is not None:
                raise _refusal(f"sample {k} of {of_prompt}: {wrong}", where)
    return checked


def _listed(found: Any, count: int, what: str, of: str, where: str) -> list[Any]:
    """Return the list that was found. Raises UserError where it has not `count` entries."""
    if not isinstance(found, list | tuple):
        raise _refusal(f"{of}: found {type(found).__name__}, expected a list of {count} {what}", where)
    if len(found) != count:
        raise _refusal(f"{of}: found {len(found)} {what}, expected {count}", where)
    return list(found)


def _wrong(sample: Any, most: int, vocabulary: int) -> str | None:
    """Say what is wrong with a completion, what was found and what was expected; None where it is right."""
    if not isinstance(sample, Drawn):
        return f"found {type(sample).__name__}, expected Drawn"
    tokens, logps = sample.tokens, sample.logps
    if not 1 <= len(tokens) <= most:
        return f"found {len(tokens)} tokens, expected 1 to {most}"
    for token in tokens:
        if type(token) is not int or not 0 <= token < vocabulary:
            return f"found the token id {token!r}, expected a whole number from 0 to {vocabulary - 1}"
    if len(logps) != len(tokens):
        return f"found {len(logps)} log-probabilities for {len(tokens)} tokens, expected one for each"
    for place, logp in enumerate(logps):
        if not isinstance(logp, float) or not math.isfinite(logp):
            return f"found the log-probability {logp!r} of token {place}, expected a finite number"
    return None


def _refusal(message: str, where: str) -> UserError:
    return UserError(message, where=where, hint=FIX)
