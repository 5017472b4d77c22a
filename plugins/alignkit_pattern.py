"""The reward `pattern`: whether a completion has a form that a regular expression describes.

Such rewards of format stand beside those of correctness in DeepSeek-R1 (DeepSeek-AI, 2025, arXiv:2501.12948).
The syntax is that of Python's `re`; flags are written into the expression, such as `(?i)` for either case and
`(?s)` for a dot that spans lines.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import field_validator

from alignkit import Field, Reward, hookimpl, text_of


class Pattern(Reward):
    """`found` where the regular expression is found in a completion, `missing` elsewhere."""

    name: ClassVar[str] = "pattern"
    pattern: str = Field(description="the regular expression")
    full: bool = Field(False, description="whether it must match the whole completion")
    found: float = Field(1.0, allow_inf_nan=False, description="the score where it matches")
    missing: float = Field(0.0, allow_inf_nan=False, description="the score where it does not")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """One of two scores a completion; a conversation's messages are read as one text."""
        expression = re.compile(self.pattern)
        matches = expression.fullmatch if self.full else expression.search
        return [self.found if matches(text_of(completion)) else self.missing for completion in completions]


@hookimpl
def register_rewards(register: Any) -> None:
    """Register the reward `pattern`."""
    register(Pattern)
