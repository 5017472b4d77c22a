"""Defines the verbs of a recipe's stages: `train`, `sample`, `label`, `evaluate`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from alignkit.recipe.named import Named
from alignkit.recipe.section import Section
from alignkit.recipe.settings import Drawing, Training

BASE = "base"
"""Stands for the base model as it is, in the place of a stage."""

Seed = Annotated[
    int | None,
    Field(ge=0, lt=2**63, description="decides this stage's random choices; none means the recipe's `seed`"),
]
MAX_LENGTH = "the most tokens of a prompt with its completion; a longer prompt loses its beginning"


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


class Train(Training):
    """Trains roles with one objective, or with the weighted sum of several."""

    train: Annotated[tuple[Term, ...], BeforeValidator(Term.read)] = Field(
        description="the objective, or several in one mapping, whose losses are added"
    )
    on: str = Field(description="data or stage to learn from")
    start: str | None = Field(
        default=None, description="stage whose adapter is trained further; none or base means a new adapter"
    )
    roles: dict[
        str, Annotated[Binding, BeforeValidator(stage_alone, json_schema_input_type=Binding | str)]
    ] = Field(
        default={},
        description="what the objective's roles are here, by name; a stage alone is short for {start: …}",
    )
    reward: RewardTerms = Field(
        default=(),
        description="rewards that online objectives maximize, or the reward model that an objective reads",
    )
    watch: RewardTerms = Field(
        default=(), description="further rewards to measure of the same samples; nothing is trained on them"
    )
    seed: Seed = None

    @field_validator("start")
    @classmethod
    def _base_is_no_stage(cls, start: str | None) -> str | None:
        return None if start == BASE else start

    @property
    def inputs(self) -> list[str]:
        """Return the names of data or stages that this stage needs."""
        bound = [binding.start for binding in self.roles.values()]
        played = players((*self.reward, *self.watch))
        named = [self.on, *(term.on for term in self.train), self.held_out, self.start, *bound, *played]
        return list(dict.fromkeys(name for name in named if isinstance(name, str) and name != BASE))

    @property
    def rewards(self) -> list[str]:
        """Return the names of rewards, of which some may be stages."""
        return [term.reward for term in (*self.reward, *self.watch)]


class Sample(Drawing):
    """Writes completions of prompts, as a policy samples them."""

    sample: str = Field(description="stage whose policy is sampled, or base")
    on: str = Field(description="data or stage whose prompts are completed")
    per_prompt: int = Field(default=4, ge=1, description="completions per prompt")
    max_length: int = Field(default=1024, ge=8, description=MAX_LENGTH)
    batch_size: int = Field(default=64, ge=1, description="prompts computed together")
    seed: Seed = None

    @property
    def inputs(self) -> list[str]:
        """Return the names of data or stages that this stage needs."""
        return [self.on, *([] if self.sample == BASE else [self.sample])]

    @property
    def rewards(self) -> list[str]:
        """Return an empty list: nothing is scored."""
        return []


class Label(Section):
    """Ranks completions by a reward."""

    label: str = Field(description="`sample` stage, or data, whose completions are ranked")
    by: RewardTerms = Field(min_length=1, description="rewards whose weighted sum ranks the completions")
    noise: float = Field(
        default=0.0,
        ge=0,
        description="temperature of a Plackett–Luce choice: one of two completions is preferred with "
        "probability σ(difference of rewards ÷ noise); 0 ranks by the rewards themselves",
    )
    max_length: int = Field(default=1024, ge=8, description=MAX_LENGTH)
    seed: Seed = None

    @property
    def inputs(self) -> list[str]:
        """Return the names of data or stages that this stage needs."""
        return [self.label, *players(self.by)]

    @property
    def rewards(self) -> list[str]:
        """Return the names of rewards, of which some may be stages."""
        return [term.reward for term in self.by]


class Target(Named):
    """A stage to evaluate, or the base, with how its answer is chosen."""

    named: ClassVar[str] = "stage"
    kind: ClassVar[str] = "a stage"

    stage: str = Field(description="training stage whose result is evaluated, or base")
    best_of: int = Field(
        default=1, ge=1, description="number of samples from which `by` chooses one; 1 means no choice"
    )
    by: RewardTerms = Field(default=(), description="rewards whose weighted sum chooses the best sample")

    @model_validator(mode="after")
    def _best_by_what(self) -> Target:
        if self.best_of > 1 and not self.by:
            raise ValueError("best_of needs `by`: the reward that chooses")
        return self

    @property
    def name(self) -> str:
        """Return the name of the target in tables."""
        return f"{self.stage} best of {self.best_of}" if self.best_of > 1 else self.stage


class Evaluate(Drawing):
    """Measures samples of policies on prompts, or the accuracy of reward models on pairs."""

    model_config = ConfigDict(serialize_by_alias=True)  # what was read is written under its own key

    evaluate: Annotated[tuple[Target, ...], BeforeValidator(Target.read)] = Field(
        min_length=1, description="training stages to compare, and base; all policies, or all reward models"
    )
    on: str = Field(
        description="data or stage with the prompts, or with ranked completions for reward models"
    )
    by: RewardTerms = Field(
        default=(),
        description="rewards, the most important first, and measures; without a measure, all are used",
    )
    against: str = Field(
        default=BASE, description="stage, or base, that win rates and the KL divergence refer to"
    )
    as_: Literal["trained", "merged"] = Field(
        default="trained",
        alias="as",
        description="which weights are measured: trained, adapters over the base as the run keeps it; or "
        "merged, the models that `export --merged` writes",
    )
    per_prompt: int = Field(default=1, ge=1, description="answers to measure per prompt")
    max_length: int = Field(default=1024, ge=8, description=MAX_LENGTH)
    batch_size: int = Field(default=64, ge=1, description="prompts computed together")
    seed: Seed = None

    @property
    def inputs(self) -> list[str]:
        """Return the names of data or stages that this stage needs."""
        stages = [*(target.stage for target in self.evaluate), self.against]
        terms = (*self.by, *(term for target in self.evaluate for term in target.by))
        return [self.on, *dict.fromkeys([*(stage for stage in stages if stage != BASE), *players(terms)])]

    @property
    def rewards(self) -> list[str]:
        """Return the names of rewards, of which some may be stages."""
        return [term.reward for term in (*self.by, *(term for target in self.evaluate for term in target.by))]


StageSettings = Train | Sample | Label | Evaluate
VERBS: dict[str, type[Train] | type[Sample] | type[Label] | type[Evaluate]] = {
    "train": Train,
    "sample": Sample,
    "label": Label,
    "evaluate": Evaluate,
}
