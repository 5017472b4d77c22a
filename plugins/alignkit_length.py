"""Defines the rewards `length`, which is the length of a completion, and `overlong`, which punishes length.

`overlong` is the soft overlong punishment of DAPO (Yu et al., 2025, arXiv:2503.14476, eq. 13), which is added
to a reward of correctness. |y| is the length of a completion, `hard_limit` is the paper's L_max, and
`soft_limit` is its L_max − L_cache:

    0                                                where |y| ≤ soft_limit
    (soft_limit − |y|) ÷ (hard_limit − soft_limit)   where soft_limit < |y| ≤ hard_limit
    −1                                               where |y| > hard_limit

Learned rewards often prefer longer completions for their length alone; a policy trained on `length` shows the
result.

Deviation: the paper counts tokens. These rewards count words (separated by white space) or characters, so
that they depend on the text alone and not on a tokenizer.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from alignkit import Field, Reward, hookimpl, model_validator, text_of

Unit = Literal["words", "characters"]


class Length(Reward):
    """Rewards the length of each completion: longer is better."""

    name: ClassVar[str] = "length"
    unit: Unit = Field("words", description="whether words or characters are counted")

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return one length per completion, 0 for an empty one; white space counts as characters."""
        return [float(measure(text_of(completion), self.unit)) for completion in completions]


class Overlong(Reward):
    """Falls from 0 at the soft limit linearly to −1 at the hard limit (arXiv:2503.14476, eq. 13)."""

    name: ClassVar[str] = "overlong"
    unit: Unit = Field("words", description="whether words or characters are counted")
    soft_limit: int = Field(ge=0, description="the greatest length that is not punished")
    hard_limit: int = Field(ge=0, description="the length at which the punishment reaches −1")

    @model_validator(mode="after")
    def _limits_in_order(self) -> Overlong:
        if self.soft_limit > self.hard_limit:
            raise ValueError(
                f"soft_limit {self.soft_limit} is above hard_limit {self.hard_limit}; it must be at most "
                "hard_limit"
            )
        return self

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return one punishment per completion, in [−1, 0]."""
        return [self._punishment(measure(text_of(completion), self.unit)) for completion in completions]

    def _punishment(self, length: int) -> float:
        if length <= self.soft_limit:
            return 0.0
        if length > self.hard_limit:
            return -1.0
        return (self.soft_limit - length) / (self.hard_limit - self.soft_limit)


def measure(text: str, unit: Unit) -> int:
    """Return how many words or characters (Unicode code points) a text has."""
    return len(text.split()) if unit == "words" else len(text)


@hookimpl
def register_rewards(register: Any) -> None:
    """Register the rewards `length` and `overlong`."""
    register(Length)
    register(Overlong)
