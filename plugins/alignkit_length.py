"""The rewards `length`, how long a completion is, and `overlong`, a punishment of completions that are too
long.

`overlong` is the soft overlong punishment of DAPO (Yu et al., 2025, arXiv:2503.14476, eq. 13), which is added
to a reward of correctness: with |y| the length of a completion, `hard_limit` the paper's L_max and
`soft_limit` its L_max − L_cache,

    0                                                where |y| ≤ soft_limit
    (soft_limit − |y|) ÷ (hard_limit − soft_limit)   where soft_limit < |y| ≤ hard_limit
    −1                                               where |y| > hard_limit

`length` is the shortcut that learned rewards often take; a policy trained on it shows what that looks like.
Deviation: the paper counts tokens. A reward sees text alone, so lengths are in words (between white space) or
characters.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import model_validator

from alignkit import Field, Reward, hookimpl, text_of

Unit = Literal["words", "characters"]


class Length(Reward):
    """The length of each completion: longer is better."""

    name: ClassVar[str] = "length"
    unit: Unit = Field("words", description="what is counted")

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """One length a completion, 0 for an empty one; white space counts as characters."""
        return [float(measure(text_of(completion), self.unit)) for completion in completions]


class Overlong(Reward):
    """0 up to the soft limit, then falling linearly to −1 at the hard limit (arXiv:2503.14476, eq. 13)."""

    name: ClassVar[str] = "overlong"
    unit: Unit = Field("words", description="what is counted")
    soft_limit: int = Field(ge=0, description="the longest length that is not punished")
    hard_limit: int = Field(ge=0, description="the length from which the punishment is whole")

    @model_validator(mode="after")
    def _limits_in_order(self) -> Overlong:
        if self.soft_limit > self.hard_limit:
            raise ValueError(
                f"soft_limit {self.soft_limit} is above hard_limit {self.hard_limit}; expected at most that"
            )
        return self

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """One punishment a completion, in [−1, 0]."""
        return [self._punishment(measure(text_of(completion), self.unit)) for completion in completions]

    def _punishment(self, length: int) -> float:
        if length <= self.soft_limit:
            return 0.0
        if length > self.hard_limit:
            return -1.0
        return (self.soft_limit - length) / (self.hard_limit - self.soft_limit)


def measure(text: str, unit: Unit) -> int:
    """How many words or characters (Unicode code points) a text has."""
    return len(text.split()) if unit == "words" else len(text)


@hookimpl
def register_rewards(register: Any) -> None:
    """Register the rewards `length` and `overlong`."""
    register(Length)
    register(Overlong)
