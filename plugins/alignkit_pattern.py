"""Defines the reward `pattern`: whether a completion has the form that a regular expression describes.

DeepSeek-R1 is trained with a reward of the format beside a reward of correctness (DeepSeek-AI, 2025,
arXiv:2501.12948). The syntax is that of Python's `re`. Flags are written into the expression: `(?i)` ignores
upper and lower case, and `(?s)` lets a dot match the end of a line.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import field_validator

from alignkit import Field, Reward, hookimpl, text_of


class Pattern(Reward):
    """Gives `found` where the regular expression matches in a completion, and `missing` elsewhere."""

    name: ClassVar[str] = "pattern"
    pattern: str = Field(description="the regular expression")
    full: bool = Field(False, description="the expression must match the whole completion")
    found: float = Field(1.0, allow_inf_nan=False, description="score where the expression matches")
    missing: float = Field(0.0, allow_inf_nan=False, description="score where it does not match")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return one of two scores per completion; a conversation's messages are read as one text."""
        expression = re.compile(self.pattern)
        matches = expression.fullmatch if self.full else expression.search
        return [self.found if matches(text_of(completion)) else self.missing for completion in completions]


@hookimpl
def register_rewards(register: Any) -> None:
    """Register the reward `pattern`."""
    register(Pattern)
