"""Asks a function of a plugin for numbers, and checks its answer: one finite number per item, or None."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from typing import Any

from alignkit.errors import UserError, raised_at


@dataclass(frozen=True)
class Question:
    """What a function of a plugin is asked: one value for each of `prompts`.

    what: the name of one value, such as `score`. items: what is scored, such as `completions`. where: what
    is asked, for messages. expected: the sentence that says what the answer must be.
    """

    prompts: Sequence[Any]
    what: str
    items: str
    where: str
    expected: str = ""

    @property
    def hint(self) -> str:
        """Say what the answer must be."""
        return self.expected or (
            f"It must return one finite number for each of the {self.items}, or None where it has no opinion."
        )

    def put(self, function: Callable[[], Any], plugin: Any) -> Any:
        """Return what `function` answers. Raises UserError where it fails; see `failed`."""
        try:
            answer = function()
            return list(answer) if isinstance(answer, Iterator) else answer
        except Exception as error:
            raise self.failed(error, plugin) from error

    def failed(self, error: BaseException, plugin: Any) -> UserError:
        """Return the error to raise: it names the place in the file of `plugin`, the function that failed.

        A UserError that the plugin raised stays as it is.
        """
        if isinstance(error, UserError):
            return error
        return UserError(
            f"it failed on {_batch(self.prompts)}: {type(error).__name__}: {error} "
            f"({raised_at(error, plugin)})",
            where=self.where,
            hint="Fix the plugin that registers it.",
        )

    def values(self, answer: Any) -> list[Any]:
        """Return the answer as one value for each prompt. Raises UserError where it is no such list."""
        try:
            values = None if isinstance(answer, str | Mapping) else list(answer)
        except TypeError:
            values = None
        if values is None:
            raise self.refusal(f"found {short(answer)} for {_batch(self.prompts)}, expected a list")
        if len(values) != len(self.prompts):
            raise self.refusal(
                f"found {len(values)} {self.what}s for {_batch(self.prompts)}, expected {len(self.prompts)}"
            )
        return values

    def number(self, value: Any, prompt: Any) -> float:
        """Return one value as a float. Raises UserError where it is no finite number.

        Numbers of numpy and tensors of one element count as numbers.
        """
        number = value
        if hasattr(value, "item"):
            with suppress(ValueError, RuntimeError):  # several elements, which the next line refuses
                number = value.item()
        if not isinstance(number, Real) or not _is_finite(number):
            raise self.refusal(f"found the {self.what} {short(value)} for the prompt {short(prompt)}")
        return float(number)

    def refusal(self, message: str) -> UserError:
        """Return an error with this message, the place, and what was expected."""
        return UserError(message, where=self.where, hint=self.hint)


def ask(
    call: Callable[[], Any], prompts: Sequence[Any], *, what: str, items: str, where: str, plugin: Any = None
) -> list[float | None]:
    """Return what `call` answers: one number for each of `prompts`, None where it has no opinion.

    what, items, where: see `Question`. plugin: the plugin's function that `call` calls. Raises UserError
    where the call fails or where its answer is anything else.
    """
    question = Question(prompts, what, items, where)
    values = question.values(question.put(call, plugin))
    return [
        None if value is None else question.number(value, prompt)
        for value, prompt in zip(values, prompts, strict=True)
    ]


def _is_finite(number: Real) -> bool:
    with suppress(OverflowError):  # an integer that no float holds
        return math.isfinite(number)
    return False


def _batch(prompts: Sequence[Any]) -> str:
    return f"{len(prompts)} prompts, the first {short(prompts[0])}" if prompts else "no prompts"


def short(value: Any, length: int = 60) -> str:
    """Write a value on one line; of a conversation, its last message."""
    if isinstance(value, list) and value and isinstance(value[-1], dict) and "content" in value[-1]:
        value = value[-1]["content"]
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"
