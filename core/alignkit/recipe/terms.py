"""Defines what stages name with options: rewards, objectives, and what plays an objective's roles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from alignkit.recipe.named import Named
from alignkit.recipe.section import Section

BASE = "base"
"""Stands for the base model as it is, in the place of a stage."""


class RewardTerm(Named):
    """A reward with its options. Several rewards make a weighted sum."""

    named: ClassVar[str] = "reward"
    kind: ClassVar[str] = "a reward"

    reward: str = Field(description="name of a registered reward, or of a stage that trains a reward model")
    options: dict[str, Any] = Field(default={}, description="options of the registered reward")
    weight: float = Field(default=1.0, description="factor of this reward in the sum")
    standardize: bool = Field(
        default=False,
        description="bring the scores of each batch to mean 0 and deviation 1 before they are weighted",
    )
    roles: dict[str, str] = Field(
        default={},
        description="the stage, or base, that plays each role with which the reward generates or scores "
        "text, as {role: STAGE}; in training, a role that is not named here is the stage's own",
    )


def players(terms: Iterable[RewardTerm]) -> list[str]:
    """Return the names of the stages that play roles of rewards, without the base."""
    return [stage for term in terms for stage in term.roles.values() if stage != BASE]


RewardTerms = Annotated[tuple[RewardTerm, ...], BeforeValidator(RewardTerm.read)]


class Term(Named):
    """An objective of a training stage with its options."""

    named: ClassVar[str] = "objective"
    kind: ClassVar[str] = "an objective"
    several: ClassVar[str] = "several in one mapping"

    objective: str = Field(description="name of a registered objective")
    options: dict[str, Any] = Field(default={}, description="options of the objective")
    weight: float = Field(default=1.0, gt=0, description="factor of this objective's loss in the sum")
    on: str | None = Field(
        default=None, description="data or stage that this objective learns from; none means the stage's `on`"
    )

    @classmethod
    def read(cls, raw: Any) -> Any:
        """Return the fields of each objective. Raises ValueError for a list, unlike rewards and targets."""
        if isinstance(raw, list):
            raise ValueError("train takes an objective's name, {name: options}, or several in one mapping")
        return super().read(raw)


class Binding(Section):
    """What a role of an objective is in this stage."""

    start: str | None = Field(
        default=None,
        description="stage whose result it starts from, or base; none means the stage's `start`, and for a "
        "value model the reward model among the stage's rewards",
    )
    prompt: str | None = Field(
        default=None,
        description="column of the data with the prompt after which it reads the completions; none means the "
        "prompt itself",
    )
    follow: str | None = Field(
        default=None, description="trained role towards whose weights it moves; none means that it stays"
    )
    rate: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the followed role's weights that each move takes over; 1 copies them",
    )
    every: int = Field(default=1, ge=1, description="optimizer steps between moves")

    @model_validator(mode="after")
    def _moves_towards_something(self) -> Binding:
        if self.follow is None and {"rate", "every"} & self.model_fields_set:
            raise ValueError("rate and every say how a role follows another: give `follow` too")
        return self


def stage_alone(value: Any) -> Any:
    """Return the binding that a stage's name alone stands for, and any other value as it is."""
    return {"start": value} if isinstance(value, str) else value
