"""Registers TRL's reward functions as `trl/…`: those of the installed `trl.rewards`, called as in TRL.

A completion is given to TRL as a list of one message of the assistant. The right answer is in the data's
column `solution`, or in another column that the option `column` names. The rewards of accuracy need the
package math-verify. A function that TRL makes with options (`get_…`) is registered by its name without
`get_`, and has the same options.

Deviation: TRL reads only the first message of a completion. Here all its messages are read as one text, as
the other rewards read them.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, ClassVar

from alignkit import Field, Reward, UserError, hookimpl, model_validator, needed_column, text_of

VERIFIERS = ("math_verify", "latex2sympy2_extended")


class ThinkFormat(Reward):
    """Gives 1 where a completion begins with one `<think>…</think>`, else 0."""

    name: ClassVar[str] = "trl/think_format_reward"

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return TRL's scores."""
        return call(self.name, completions)


class Accuracy(Reward):
    """Gives 1 where a completion's LaTeX answer equals the solution mathematically, else 0.

    None where the solution cannot be read.
    """

    name: ClassVar[str] = "trl/accuracy_reward"
    column: str = Field("solution", description="the data's column with the solution, as text")

    @model_validator(mode="after")
    def _can_verify(self) -> Accuracy:
        require_verifiers(self.name)
        return self

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return TRL's scores. Raises UserError where the column is missing."""
        return call(self.name, completions, solution=needed_column(columns, self.column, self.name))


class ReasoningAccuracy(Accuracy):
    """Gives `trl/accuracy_reward` of the text after the reasoning; 0 where the reasoning does not end."""

    name: ClassVar[str] = "trl/reasoning_accuracy_reward"
    reasoning_delimiters: list[str] = Field(
        ["</think>"], min_length=1, description="texts that may end the reasoning; the first found counts"
    )

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return TRL's scores. Raises UserError where the column is missing."""
        solution = needed_column(columns, self.column, self.name)
        return call(self.name, completions, solution=solution, reasoning_delimiters=self.reasoning_delimiters)


class CosineScaled(Accuracy):
    """Rewards answers by length along a cosine, short right ones most (arXiv:2502.03373, app. C.1)."""

    name: ClassVar[str] = "trl/cosine_scaled_reward"
    max_len: int = Field(ge=1, description="length, in tokens, at which the cosine ends")
    min_value_wrong: float = Field(-1.0, description="reward of the shortest wrong answer")
    max_value_wrong: float = Field(-0.5, description="reward of the longest wrong answer")
    min_value_correct: float = Field(0.5, description="reward of the longest right answer")
    max_value_correct: float = Field(1.0, description="reward of the shortest right answer")

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return TRL's scores. Raises UserError where the column is missing."""
        solution, ids = needed_column(columns, self.column, self.name), columns["completion_ids"]
        return call(
            self.name,
            completions,
            make=self.model_dump(exclude={"column"}),
            solution=solution,
            completion_ids=ids,
        )


class RepetitionPenalty(Reward):
    """Penalizes the share of n-grams of tokens that occurred before (arXiv:2502.03373, app. C.2)."""

    name: ClassVar[str] = "trl/repetition_penalty_reward"
    ngram_size: int = Field(3, ge=1, description="tokens of an n-gram")
    max_penalty: float = Field(-1.0, le=0, description="reward of a completion that only repeats")

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return TRL's scores."""
        return call(self.name, completions, make=self.model_dump(), completion_ids=columns["completion_ids"])


class SoftOverlongPunishment(Reward):
    """Falls from 0 to -1 as a completion nears the greatest length (arXiv:2503.14476, eq. 13)."""

    name: ClassVar[str] = "trl/soft_overlong_punishment"
    max_completion_len: int = Field(ge=1, description="length, in tokens, at which the reward reaches -1")
    soft_punish_cache: int = Field(
        ge=0, description="tokens before `max_completion_len` over which the reward falls"
    )

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return TRL's scores."""
        return call(self.name, completions, make=self.model_dump(), completion_ids=columns["completion_ids"])


REWARDS = (ThinkFormat, Accuracy, ReasoningAccuracy, CosineScaled, RepetitionPenalty, SoftOverlongPunishment)


def call(
    name: str, completions: list[Any], *, make: dict[str, Any] | None = None, **arguments: Any
) -> list[float | None]:
    """Return the scores that TRL's function gives to the completions.

    make: the options, for a function that TRL makes with `get_…`. arguments: what the function gets besides
    the completions. Raises UserError where the installed TRL lacks the function.
    """
    import trl
    from trl import rewards

    bare = name.removeprefix("trl/")
    function = getattr(rewards, bare if make is None else f"get_{bare}", None)
    if function is None:
        raise UserError(
            f"the installed TRL {trl.__version__} does not have this function in trl.rewards",
            where=f"reward {name!r}",
            hint="Update it: pip install --upgrade trl",
        )
    if make is not None:
        function = function(**make)
    return function(
        completions=[[{"role": "assistant", "content": text_of(completion)}] for completion in completions],
        **arguments,
    )


def require_verifiers(name: str) -> None:
    """Raise UserError where a package is missing with which TRL verifies mathematics."""
    missing = [package for package in VERIFIERS if find_spec(package) is None]
    if missing:
        raise UserError(
            f"it needs math-verify, and its package {missing[0]!r} is not installed",
            where=f"reward {name!r}",
            hint="Install it: pip install math-verify",
        )


@hookimpl
def register_rewards(register: Any) -> None:
    """Register `trl/NAME` for each of TRL's functions."""
    for reward in REWARDS:
        register(reward)
