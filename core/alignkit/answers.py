"""Asks a function of a plugin for numbers, and checks its answer: one finite number per item, or None."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from numbers import Real
from typing import Any

from alignkit.errors import UserError


def ask(
    call: Callable[[], Any], prompts: Sequence[Any], *, what: str, items: str, where: str
) -> list[float | None]:
    """Return what `call` answers: one number for each of `prompts`, None where it has no opinion.

    what: the name of one number, such as `score`. items: what is scored, such as `completions`. Numbers of
    numpy and tensors of one element count as numbers. Raises UserError, at the place `where`, where the call
    fails or where its answer is anything else.
    """
    hint = f"It must return one finite number for each of the {items}, or None where it has no opinion."
    try:
        answer = call()
        if isinstance(answer, Iterator):
            answer = list(answer)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"it failed on {_batch(prompts)}: {type(error).__name__}: {error}",
            where=where,
            hint="Fix the plugin that registers it.",
        ) from error
    try:
        numbers = None if isinstance(answer, str | Mapping) else list(answer)
    except TypeError:
        numbers = None
    if numbers is None:
        raise UserError(
            f"found {_short(answer)} for {_batch(prompts)}, expected a list", where=where, hint=hint
        )
    if len(numbers) != len(prompts):
        raise UserError(
            f"found {len(numbers)} {what}s for {_batch(prompts)}, expected {len(prompts)}",
            where=where,
            hint=hint,
        )
    return [_finite(value, what, prompt, where, hint) for value, prompt in zip(numbers, prompts, strict=True)]


def _finite(value: Any, what: str, prompt: Any, where: str, hint: str) -> float | None:
    if value is None:
        return None
    number = value
    if hasattr(value, "item"):
        with suppress(ValueError, RuntimeError):  # several elements, which the next line refuses
            number = value.item()
    if not isinstance(number, Real) or not _is_finite(number):
        raise UserError(
            f"found the {what} {_short(value)} for the prompt {_short(prompt)}", where=where, hint=hint
        )
    return float(number)


def _is_finite(number: Real) -> bool:
    with suppress(OverflowError):  # an integer that no float holds
        return math.isfinite(number)
    return False


def _batch(prompts: Sequence[Any]) -> str:
    return f"{len(prompts)} prompts, the first {_short(prompts[0])}" if prompts else "no prompts"


def _short(value: Any, length: int = 60) -> str:
    """Write a value on one line; of a conversation, its last message."""
    if isinstance(value, list) and value and isinstance(value[-1], dict) and "content" in value[-1]:
        value = value[-1]["content"]
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"
