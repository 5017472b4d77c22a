"""Scores of completions by a registered reward, and the ranking that scores give a group, with or without
noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

from alignkit.errors import UserError
from alignkit.objective import Reward

ARGUMENTS = {"self", "prompts", "completions", "completion_ids"}
HINT = "A reward returns one finite number for each completion, or None where it has no opinion."


@dataclass(frozen=True)
class WeightedReward:
    """One reward of a weighted list. call: the registered reward; None where `name` is a stage that trained a
    reward model.

    standardize: over each batch of scores, to mean 0 and deviation 1, before it is weighted.
    """

    name: str
    weight: float = 1.0
    standardize: bool = False
    call: Reward | Callable[..., Any] | None = None


class Uniform(Protocol):
    """What a ranking needs of a random generator; `random.Random` and `numpy.random.Generator` have it."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


def score(
    reward: Reward | Callable[..., Any],
    name: str,
    prompts: list[Any],
    completions: list[Any],
    ids: list[list[int]],
    columns: Mapping[str, list[Any]],
) -> list[float | None]:
    """What `reward`, registered as `name`, gives each of the N completions; None where it abstains.

    prompts, completions, ids and each of `columns` have N entries; ids are the completions' tokens, which the
    reward gets as `completion_ids`. Raises UserError where the reward fails or its answer is not N finite
    numbers or Nones.
    """
    where = f"reward {name!r}"
    call = reward.score if isinstance(reward, Reward) else reward
    for taken in ARGUMENTS & set(columns):
        hint = f"Give the column another name: `rename: {{{taken}: OTHER}}` in the recipe's data entry."
        raise UserError(
            f"the data has a column {taken!r}, which is an argument of every reward", where=where, hint=hint
        )
    try:
        answer = call(prompts=prompts, completions=completions, completion_ids=ids, **columns)
        if isinstance(answer, Iterator):
            answer = list(answer)
    except UserError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise UserError(
            f"it failed on {_batch(prompts)}: {cause}", where=where, hint="Mend the plugin that registers it."
        ) from error
    try:
        scores = list(answer) if not isinstance(answer, str | Mapping) else None
    except TypeError:
        scores = None
    if scores is None:
        raise UserError(
            f"found {_short(answer)} for {_batch(prompts)}, expected a list of {len(completions)}",
            where=where,
            hint=HINT,
        )
    if len(scores) != len(completions):
        raise UserError(
            f"found {len(scores)} scores for {_batch(prompts)}, expected {len(completions)}",
            where=where,
            hint=HINT,
        )
    return [
        finite(value, "score", prompt, where, HINT) for value, prompt in zip(scores, prompts, strict=True)
    ]


def rank(scores: Sequence[float], noise: float, rng: Uniform) -> list[float]:
    """The rank of each of a group's scores, 0 the best. Without noise, equal scores share the better rank.

    With noise τ > 0, a draw of the Plackett–Luce model (Plackett, 1975, doi:10.2307/2346567), whose pairs
    follow P(i before j) = sigmoid((sᵢ - sⱼ) / τ): the order of sᵢ / τ + gᵢ, gᵢ independent Gumbel variables
    (Yellott, 1977, doi:10.1016/0022-2496(77)90026-8).
    """
    if noise < 0:
        raise ValueError(f"noise is a temperature, 0 or more; found {noise}")
    keys = [value / noise + _gumbel(rng) for value in scores] if noise > 0 else list(scores)
    return [float(sum(other > key for other in keys)) for key in keys]


def _gumbel(rng: Uniform) -> float:
    uniform = rng.random() or 2.0**-54  # 0 would be minus infinity
    return -math.log(-math.log1p(-uniform))


def finite(value: Any, what: str, prompt: Any, where: str, hint: str) -> float | None:
    """A finite number as a float, None as it is; those of numpy and tensors of one element are numbers too.
    Raises UserError for others.
    """
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


def _batch(prompts: list[Any]) -> str:
    return f"{len(prompts)} prompts, the first {_short(prompts[0])}" if prompts else "no prompts"


def _short(value: Any, length: int = 60) -> str:
    """A value on one line; of a conversation, its last message."""
    if isinstance(value, list) and value and isinstance(value[-1], dict) and "content" in value[-1]:
        value = value[-1]["content"]
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"
