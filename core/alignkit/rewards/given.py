"""Reads what a reward gives each completion: a number, a number for each token, or one for each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, TypeAlias

from alignkit.answers import Question, short
from alignkit.example import text_of


@dataclass(frozen=True)
class PerToken:
    """The numbers of a completion's T tokens."""

    numbers: tuple[float, ...]


@dataclass(frozen=True)
class PerStep:
    """The numbers of a completion's steps, each with the number of characters up to the step's end."""

    steps: tuple[tuple[int, float], ...]


Given: TypeAlias = float | PerToken | PerStep | None
"""What a reward gives a completion; None where it abstains."""

EXPECTED = (
    "It must return, for each completion, one finite number or None where it has no opinion; or a list of "
    "numbers, one for each token of `completion_ids`; or a list of pairs (end, number), one for each step."
)
LISTS_AND_NUMBERS = "found lists for some completions and numbers for others, expected one or the other"


def total_of(given: Given) -> float | None:
    """Return the sum of what a completion is given; None where the reward abstains."""
    if isinstance(given, PerToken):
        return float(sum(given.numbers))
    if isinstance(given, PerStep):
        return float(sum(number for _, number in given.steps))
    return given


def read_given(
    question: Question, answer: Any, completions: Sequence[Any], ids: Sequence[list[int]]
) -> list[Given]:
    """Return what the answer gives each of the N completions, whose token ids are `ids`.

    Raises UserError where it is no list of N entries, where a number is not finite, where lists and numbers
    are mixed, where a list of numbers has another length than the tokens, and where a step ends outside its
    text.
    """
    values = question.values(answer)
    forms = {_form(value) for value in values}
    if {"list", "number"} <= forms:
        raise question.refusal(LISTS_AND_NUMBERS)
    read = _read_list if "list" in forms else _read_number
    return [
        None if value is None else read(question, place, value, completions[place], ids[place])
        for place, value in enumerate(values)
    ]


def _form(value: Any) -> str:
    """Tell lists from numbers. An array of one element is what the other values are."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return "list"
    if getattr(value, "ndim", 0) > 0 and hasattr(value, "tolist"):
        return "either" if tuple(value.shape) == (1,) else "list"
    return "number"


def _read_number(question: Question, place: int, value: Any, completion: Any, ids: list[int]) -> Given:
    return question.number(value, question.prompts[place])


def _read_list(question: Question, place: int, value: Any, completion: Any, ids: list[int]) -> Given:
    prompt = question.prompts[place]
    items = list(value) if isinstance(value, list | tuple) else value.tolist()
    if not items or any(isinstance(item, list | tuple) for item in items):
        return PerStep(tuple(_step(question, item, prompt, completion) for item in items))
    if len(items) != len(ids):
        raise question.refusal(
            f"found {len(items)} numbers for the completion {short(completion)} of the prompt "
            f"{short(prompt)}, which has {len(ids)} tokens"
        )
    return PerToken(tuple(question.number(item, prompt) for item in items))


def _step(question: Question, item: Any, prompt: Any, completion: Any) -> tuple[int, float]:
    """Read a pair (end, number). The end lies within the completion's text, after its first character."""
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise question.refusal(f"found the step {short(item)} for the prompt {short(prompt)}")
    end, number = item
    length = len(text_of(completion))
    if not isinstance(end, Integral) or isinstance(end, bool) or not 1 <= int(end) <= length:
        raise question.refusal(
            f"found a step that ends at {short(end)} in the completion {short(completion)} of the prompt "
            f"{short(prompt)}, whose text has {length} characters"
        )
    return int(end), question.number(number, prompt)
