"""Defines the verbs of a recipe's stages: `train`, `sample`, `label`, `evaluate`."""

from __future__ import annotations

from collections.abc import Container
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from alignkit.recipe.named import Named
from alignkit.recipe.section import Section
from alignkit.recipe.seeds import Seeds, seed_name
from alignkit.recipe.settings import Drawing, Training
from alignkit.recipe.terms import BASE, Binding, RewardTerms, Term, players, stage_alone

Seed = Annotated[
    int | None,
    Field(ge=0, lt=2**63, description="decides this stage's random choices; none means the recipe's `seed`"),
]
OWN_SEEDS = Field(
    default=1,
    description="number of seeds: with 3, the stage NAME becomes NAME-seed-1, NAME-seed-2 and NAME-seed-3",
)
MAX_LENGTH = "the most tokens of a prompt with its completion; a longer prompt loses its beginning"


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
    seeds: Seeds = OWN_SEEDS

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
    seeds: Seeds = OWN_SEEDS

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
    seeds: Seeds = OWN_SEEDS

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

    @property
    def stages(self) -> list[str]:
        """Return all names of stages, the base and rewards in the target."""
        return [self.stage, *(term.reward for term in self.by), *players(self.by)]

    def of_seed(self, number: int, names: Container[str]) -> Target:
        """Return the target with the seed `number`, from 1, of each of the stages `names`."""

        def meaning(name: str) -> str:
            return seed_name(name, number) if name in names else name

        by = tuple(
            term.model_copy(
                update={
                    "reward": meaning(term.reward),
                    "roles": {role: meaning(stage) for role, stage in term.roles.items()},
                }
            )
            for term in self.by
        )
        return self.model_copy(update={"stage": meaning(self.stage), "by": by})


def counted(seeds: Any) -> Any:
    """Return the numbers of seeds by name. Raises ValueError for one number, as other verbs have it."""
    if isinstance(seeds, int):
        raise ValueError("an evaluation is done once: give `seeds` to the stages that it measures")
    return seeds


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
    show: int = Field(
        default=3, ge=0, description="number of prompts, the first ones, whose answers are shown at the end"
    )
    seeds: Annotated[dict[str, Seeds], BeforeValidator(counted)] = Field(
        default={},
        description="number of seeds of stages that are measured, as {NAME: number}; NAME then stands for "
        "NAME-seed-1, NAME-seed-2 and so on; filled in from the stages' own `seeds`",
    )

    @model_validator(mode="after")
    def _seeds_agree(self) -> Evaluate:
        for target in self.evaluate:
            names = sorted({*target.stages, self.against} & self.seeds.keys())
            if len({self.seeds[name] for name in names}) > 1:
                found = ", ".join(f"{name} has {self.seeds[name]}" for name in names)
                raise ValueError(f"{target.name} is compared seed by seed, so all need as many: {found}")
        return self

    def seeds_of(self, target: Target) -> int:
        """Return the number of a target's seeds."""
        return max((self.seeds.get(name, 1) for name in target.stages), default=1)

    def each(self, target: Target) -> list[Target]:
        """Return a target's seeds as targets; one without seeds alone."""
        return [target.of_seed(number, self.seeds) for number in range(1, self.seeds_of(target) + 1)]

    @property
    def inputs(self) -> list[str]:
        """Return the names of data or stages that this stage needs."""
        targets = self._targets
        stages = [target.stage for target in targets if target.stage != BASE]
        terms = (*self.by, *(term for target in targets for term in target.by))
        return [self.on, *dict.fromkeys([*stages, *players(terms)])]

    @property
    def rewards(self) -> list[str]:
        """Return the names of rewards, of which some may be stages."""
        return [term.reward for term in (*self.by, *(term for target in self._targets for term in target.by))]

    @property
    def _targets(self) -> list[Target]:
        """Return all that is measured, with every seed, and what it is compared with."""
        return [one for target in (*self.evaluate, Target(stage=self.against)) for one in self.each(target)]


StageSettings = Train | Sample | Label | Evaluate
VERBS: dict[str, type[Train] | type[Sample] | type[Label] | type[Evaluate]] = {
    "train": Train,
    "sample": Sample,
    "label": Label,
    "evaluate": Evaluate,
}
