"""Defines what a reward's author writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict

from alignkit.errors import UserError


class Reward(BaseModel):
    """Scores completions. The fields of a subclass are its options.

    A plain function with `score`'s signature registers too.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)

    name: ClassVar[str]

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return one number per completion: higher is better, None abstains.

        Conversations come as lists of messages. columns: the data's other columns, None where a row has none,
        and `completion_ids`, the completions' token ids.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no `score`")


RewardCall: TypeAlias = Reward | Callable[..., Any]
"""A registered reward: an instance with its options, or a function."""


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
