"""Puts the rewards of a completion at its tokens.

T: the tokens of one completion.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from alignkit.rewards.given import Given, PerStep, PerToken

Decode = Callable[[list[int]], str]
"""Gives the text of the first tokens of a completion."""


def at_tokens(given: Given, ids: list[int], text: Decode) -> list[float]:
    """Return what a completion is given, (T,): a step's number at the token that ends it.

    ids: the T tokens. text: gives the text of the first k of them, from which ends of steps are found. One
    number for the whole completion stands at its last token. Raises ValueError where nothing is given.
    """
    if given is None:
        raise ValueError("the reward abstains from this completion")
    if isinstance(given, PerToken):
        return list(given.numbers)
    if isinstance(given, PerStep):
        return _at_ends(given.steps, ids, text)
    return added_at_end([0.0] * len(ids), given)


def added_at_end(numbers: Sequence[float], more: float) -> list[float]:
    """Return the T numbers with `more` added to the last of them."""
    return [*numbers[:-1], numbers[-1] + more]


def token_at(end: int, ids: list[int], text: Decode) -> int:
    """Return the place of the token in which the character number `end` of the text ends, from 0.

    The last characters of the text of some first tokens may be incomplete, so that they change with the next
    token. They count where they are as in the whole text. The last token is the place of everything that is
    never as in the whole text.
    """
    whole = text(ids)

    def complete(count: int) -> int:
        return _agreeing(text(ids[:count]), whole)

    return min(bisect_left(range(1, len(ids) + 1), end, key=complete), len(ids) - 1)


def _agreeing(text: str, whole: str) -> int:
    """Count the characters at the beginning of both."""
    pairs = enumerate(zip(text, whole, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(text), len(whole)))


def _at_ends(steps: Sequence[tuple[int, float]], ids: list[int], text: Decode) -> list[float]:
    numbers = [0.0] * len(ids)
    for end, number in steps:
        numbers[token_at(end, ids, text)] += number
    return numbers
