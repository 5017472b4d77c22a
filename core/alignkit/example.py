"""Defines one prompt with its completions, as text (`Example`) and as tokens (`Group`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Text: TypeAlias = str | list[dict[str, Any]]
"""Plain text, or a conversation: a list of `{"role": …, "content": …}`."""

Column: TypeAlias = tuple[Any, ...]
"""One entry for each completion: a number, or a tuple with one number for each of its tokens."""


class BadExample(ValueError):
    """A row that cannot be used. Its message is the reason, which the data report counts.

    detail: what differs from row to row, such as counts. The report shows that of the first row.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


@dataclass(frozen=True)
class Steps:
    """The steps of a completion, S of them.

    text: the whole completion. ends: for each step the number of characters up to its end. columns: for each
    name one number for each step.
    """

    text: str
    ends: tuple[int, ...]
    columns: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Example:
    """A prompt and its completions as text: what a format reads from a row.

    columns: for each name one entry for each completion: a number, or the numbers of its tokens. In the
    column `rank`, lower is better. extra: the other columns of the row as they were read, for example the
    right answer that a reward compares with. steps: those of the only completion, in data of the kind
    Stepwise.
    """

    prompt: Text
    completions: tuple[Text, ...] = ()
    columns: Mapping[str, Column] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    steps: Steps | None = None


@dataclass(frozen=True)
class Group:
    """The token ids of an example: what training reads.

    The model's input is the prompt followed by a completion. A completion ends with end-of-sequence, unless
    it was cut off where it was sampled. columns: those of the example. truncated: one of its prompts lost its
    beginning to fit the maximum length. masks: for each completion and each of its tokens whether the policy
    wrote it; None means that it wrote all. prompts: the token ids of the example's other prompts, by the
    column that holds them. prompt_columns: numbers of the prompt, which hold for all its completions. text:
    the prompt as it was read.
    """

    prompt: list[int]
    completions: tuple[list[int], ...] = ()
    columns: Mapping[str, Column] = field(default_factory=dict)
    truncated: bool = False
    masks: tuple[tuple[bool, ...], ...] | None = None
    prompts: Mapping[str, list[int]] = field(default_factory=dict)
    prompt_columns: Mapping[str, float] = field(default_factory=dict)
    text: Text | None = None

    @property
    def tokens(self) -> int:
        """Count the tokens of the group's prefix tree: its longest prompt once, and every completion."""
        return max(map(len, (self.prompt, *self.prompts.values()))) + sum(map(len, self.completions))

    def under(self, column: str) -> Group:
        """Return the same completions after the prompt that `column` holds.

        Raises KeyError where the data was read without this prompt.
        """
        return replace(self, prompt=self.prompts[column], text=None)

    def select(self, indices: Sequence[int]) -> Group:
        """Return the group with only the completions at `indices`, in that order."""
        return replace(
            self,
            completions=taken(self.completions, indices),
            columns={name: taken(values, indices) for name, values in self.columns.items()},
            masks=None if self.masks is None else taken(self.masks, indices),
        )


def taken(values: Sequence[T], indices: Sequence[int]) -> tuple[T, ...]:
    """Return the values at `indices`, in that order."""
    return tuple(values[index] for index in indices)


def text_of(text: Text) -> str:
    """Return plain text as it is, and a conversation as the contents of its messages joined by newlines."""
    if isinstance(text, str):
        return text
    return "\n".join(message.get("content") or "" for message in text)
