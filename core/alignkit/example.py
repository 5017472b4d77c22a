"""One prompt and its completions, as text (`Example`) and as tokens (`Group`): what formats produce and
training consumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Text: TypeAlias = str | list[dict[str, Any]]
"""Plain text, or a conversation: a list of `{"role": …, "content": …}`."""


class BadExample(ValueError):
    """A row that cannot be trained on; its message is the reason that the data report counts."""


@dataclass(frozen=True)
class Example:
    """A prompt and its completions. `columns`: for each name one number a completion (`rank`: lower is
    better).

    `extra`: the row's other columns as they were read, such as the right answer that a reward compares with.
    """

    prompt: Text
    completions: tuple[Text, ...] = ()
    columns: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """An example's token ids. The prompt and a completion concatenate to the model's input; a completion ends
    with end-of-sequence.

    `truncated`: the prompt lost its beginning to fit the maximum length.
    """

    prompt: list[int]
    completions: tuple[list[int], ...] = ()
    columns: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    truncated: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of the group's prefix tree: the prompt once, and every completion."""
        return len(self.prompt) + sum(map(len, self.completions))


def text_of(text: Text) -> str:
    """What is said, as one text: the text itself, or its messages' contents one after the other, each on a
    new line.
    """
    if isinstance(text, str):
        return text
    return "\n".join(message.get("content") or "" for message in text)
