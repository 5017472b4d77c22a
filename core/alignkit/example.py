"""Defines one prompt with its completions, as text (`Example`) and as tokens (`Group`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

Text: TypeAlias = str | list[dict[str, Any]]
"""Plain text, or a conversation: a list of `{"role": …, "content": …}`."""


class BadExample(ValueError):
    """A row that cannot be used. Its message is the reason, which the data report counts."""


@dataclass(frozen=True)
class Example:
    """A prompt and its completions as text: what a format reads from a row.

    columns: for each name one number per completion; in the column `rank`, lower is better. extra: the other
    columns of the row as they were read, for example the right answer that a reward compares with.
    """

    prompt: Text
    completions: tuple[Text, ...] = ()
    columns: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """The token ids of an example: what training reads.

    The model's input is the prompt followed by a completion. A completion ends with end-of-sequence, unless
    it was cut off where it was sampled. columns: those of the example. truncated: the prompt lost its
    beginning to fit the maximum length. prompts: other prompts under which roles read the completions, by
    the data's column. text: the prompt as it was read.
    """

    prompt: list[int]
    completions: tuple[list[int], ...] = ()
    columns: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    truncated: bool = False
    prompts: Mapping[str, list[int]] = field(default_factory=dict)
    text: Text | None = None

    def under(self, column: str) -> Group:
        """Return the same completions after the prompt of the data's column."""
        return replace(self, prompt=self.prompts[column])

    @property
    def tokens(self) -> int:
        """Count the tokens of the group's prefix tree: the prompt once, and every completion."""
        return len(self.prompt) + sum(map(len, self.completions))


def text_of(text: Text) -> str:
    """Return plain text as it is, and a conversation as the contents of its messages joined by newlines."""
    if isinstance(text, str):
        return text
    return "\n".join(message.get("content") or "" for message in text)
