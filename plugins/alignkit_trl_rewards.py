"""TRL's reward functions that judge text, as `trl/think_format_reward`, `trl/accuracy_reward` and `trl/reasoning_accuracy_reward`.

They are the functions of the installed `trl.rewards`, called as TRL's trainers call them: a completion is a list of one message of
the assistant, and the right answer is in the data's column `solution`, or in another that the option `column` names. The two that
judge accuracy need the package math-verify.
Deviation: TRL reads the first message of a completion only; here its messages are read as one text.
Left out are `get_cosine_scaled_reward`, `get_repetition_penalty_reward` and `get_soft_overlong_punishment`: they need a completion's
token ids, and a reward sees text alone. `overlong` is the last one's punishment by words or characters.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, ClassVar

from pydantic import model_validator

from alignkit import Field, Reward, UserError, hookimpl, needed_column, text_of

VERIFIERS = ("math_verify", "latex2sympy2_extended")


class ThinkFormat(Reward):
    """1 where a completion begins with one `<think>…</think>`, else 0."""

    name: ClassVar[str] = "trl/think_format_reward"

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """TRL's scores."""
        return call(self.name, completions)


class Accuracy(Reward):
    """1 where a completion's LaTeX answer equals the solution mathematically, else 0; None where the solution cannot be read."""

    name: ClassVar[str] = "trl/accuracy_reward"
    column: str = Field("solution", description="the data's column with the solution, as text")

    @model_validator(mode="after")
    def _can_verify(self) -> Accuracy:
        require_verifiers(self.name)
        return self

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """TRL's scores. Raises UserError where the column is missing."""
        return call(self.name, completions, solution=needed_column(columns, self.column, self.name))


class ReasoningAccuracy(Accuracy):
    """As `trl/accuracy_reward`, of what follows the reasoning; 0 where the reasoning does not end."""

    name: ClassVar[str] = "trl/reasoning_accuracy_reward"
    reasoning_delimiters: list[str] = Field(["</think>"], min_length=1, description="what may end the reasoning, the first found counts")

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """TRL's scores. Raises UserError where the column is missing."""
        solution = needed_column(columns, self.column, self.name)
        return call(self.name, completions, solution=solution, reasoning_delimiters=self.reasoning_delimiters)


REWARDS = (ThinkFormat, Accuracy, ReasoningAccuracy)


def call(name: str, completions: list[Any], **arguments: Any) -> list[float | None]:
    """What TRL's function gives the completions. Raises UserError where the installed TRL has no such function."""
    import trl
    from trl import rewards

    function = getattr(rewards, name.removeprefix("trl/"), None)
    if function is None:
        raise UserError(
            f"TRL {trl.__version__}, which is installed, has no such function in trl.rewards",
            where=f"reward {name!r}",
            hint="Update it: pip install --upgrade trl",
        )
    return function(completions=[[{"role": "assistant", "content": text_of(completion)}] for completion in completions], **arguments)


def require_verifiers(name: str) -> None:
    """Raise UserError where a package is missing that TRL verifies mathematics with."""
    missing = [package for package in VERIFIERS if find_spec(package) is None]
    if missing:
        raise UserError(
            f"it needs math-verify, of which the package {missing[0]!r} is not installed",
            where=f"reward {name!r}",
            hint="Install it: pip install math-verify",
        )


@hookimpl
def register_rewards(register: Any) -> None:
    """Register `trl/NAME` for each of TRL's functions that judges text."""
    for reward in REWARDS:
        register(reward)
