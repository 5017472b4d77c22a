"""Defines what a reward's author writes, and the engine that a reward may use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from typing import Any, ClassVar, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict

from alignkit.errors import UserError
from alignkit.example import Text

Score: TypeAlias = float | Sequence[float] | Sequence[tuple[int, float]] | None
"""What a reward may give a completion: a number, a number for each token, one for each step, or nothing."""


class Reward(BaseModel):
    """Scores completions. The fields of a subclass are its options.

    A plain function with `score`'s signature registers too. uses: the roles that generate or score text for
    the reward; `score` then gets an `Engine` as `engine`.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)

    name: ClassVar[str]
    uses: ClassVar[Set[str]] = frozenset()

    def score(
        self, prompts: list[Any], completions: list[Any], **columns: Any
    ) -> Sequence[Score] | Awaitable[Sequence[Score]]:
        """Return what each of the completions gets: higher is better, None abstains.

        It is one number. Or it is a list of numbers, one for each of the completion's tokens. Or it is a list
        of pairs (end, number), one for each step, where `end` counts the characters of the completion's text
        up to the end of the step. One answer holds either numbers or lists.

        Conversations come as lists of messages. columns: the data's other columns, None where a row has none,
        and `completion_ids`, the completions' token ids. `async def score` is awaited, at the same time as
        the other rewards of the batch.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no `score`")


RewardCall: TypeAlias = Reward | Callable[..., Any]
"""A registered reward: an instance with its options, or a function."""


class Engine(Protocol):
    """Generates and scores text with the roles that a reward uses, without gradient and without dropout.

    An answer depends on the role, the prompt and the arguments alone, not on the other prompts of a call.
    """

    def generate(
        self,
        role: str,
        prompts: Sequence[Text],
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        per_prompt: int = 1,
        seed: int = 0,
    ) -> list[list[str]]:
        """Return the text of completion k of prompt i at [i][k].

        prompts: text, or lists of messages. temperature: 0 takes the most likely token. max_tokens: the most
        tokens of a completion. seed: another one gives other samples. Raises UserError for a prompt that
        cannot be written or leaves no room for its completion.
        """
        ...

    def logps(self, role: str, prompts: Sequence[Text], completions: Sequence[Text]) -> list[list[float]]:
        """Return log π(y_t | x, y_<t) of each token of each completion, end-of-sequence included.

        Raises UserError for a prompt and completion that cannot be written or do not fit into the model.
        """
        ...


def needed_column(columns: Mapping[str, list[Any]], name: str, reward: str) -> list[Any]:
    """Return the data's column `name`, one entry per completion.

    Raises UserError, with the columns that there are, where it is missing.
    """
    if name not in columns:
        raise UserError(
            f"it needs the data's column {name!r}, which is missing; found: "
            f"{', '.join(sorted(columns)) or 'none'}",
            where=f"reward {reward!r}",
            hint=f"Say which it is with the reward's option `column`, or with `rename: {{FOUND: {name}}}` "
            "in the recipe's data entry.",
        )
    return columns[name]
