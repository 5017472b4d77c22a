"""The verbs of a recipe's stages: `train`, `sample`, `label`, `evaluate`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from alignkit.recipe.settings import Drawing, Section, Training

BASE = "base"
"""In the place of a stage: the base model as it is."""


def _named(raw: Any, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """`name`, `{name: options, …}`, or a list of either, as names with their options."""
    found: list[tuple[str, dict[str, Any]]] = []
    for item in raw if isinstance(raw, list | tuple) else [raw]:
        named = {item: None} if isinstance(item, str) else item
        if not isinstance(named, dict) or not named:
            raise ValueError(f"give the name of {kind}, {{name: options}}, or several of them")
        for name, options in named.items():
            if options is not None and not isinstance(options, dict):
                raise ValueError(f"the options of {name} must be a mapping, found {options!r}")
            found.append((str(name), dict(options or {})))
    return found


class RewardTerm(Section):
    """A reward: a reward-model stage or a registered reward with its options. Of several, the weighted sum is
    meant; standardize: over each batch, to mean 0 and deviation 1, before it is weighted."""

    reward: str
    options: dict[str, Any] = {}
    weight: float = 1.0
    standardize: bool = False


def _read_rewards(raw: Any) -> Any:
    if isinstance(raw, tuple) and all(isinstance(item, RewardTerm) for item in raw):
        return raw
    return tuple(
        {
            "reward": name,
            **{key: options.pop(key) for key in ("weight", "standardize") if key in options},
            "options": options,
        }
        for name, options in _named(raw, "a reward")
    )


Rewards = Annotated[tuple[RewardTerm, ...], BeforeValidator(_read_rewards)]


class Term(Section):
    """One objective of a training stage: its options, its weight in the sum, and data of its own."""

    objective: str
    options: dict[str, Any] = {}
    weight: float = Field(default=1.0, gt=0)
    on: str | None = None


class Train(Training):
    """`train: OBJECTIVE`, `train: {OBJECTIVE: options}`, or several, whose losses are added.

    reward: what methods that learn from their own samples maximise; watch: further rewards to measure of the
    same samples.
    """

    train: tuple[Term, ...]
    on: str
    start: str | None = None
    reward: Rewards = ()
    watch: Rewards = ()

    @model_validator(mode="before")
    @classmethod
    def _read_terms(cls, raw: Any) -> Any:
        if isinstance(raw.get("train"), list):
            raise ValueError("train takes an objective's name, {name: options}, or several in one mapping")
        terms = [
            {
                "objective": name,
                **{key: options.pop(key) for key in ("weight", "on") if key in options},
                "options": options,
            }
            for name, options in _named(raw.get("train"), "an objective")
        ]
        return {**raw, "train": terms}

    @field_validator("start")
    @classmethod
    def _base_is_no_stage(cls, start: str | None) -> str | None:
        return None if start == BASE else start

    @property
    def inputs(self) -> list[str]:
        """Names of data or stages that this stage needs."""
        held_out = [self.held_out] if isinstance(self.held_out, str) else []
        return [
            *dict.fromkeys(
                [
                    self.on,
                    *(term.on for term in self.train if term.on),
                    *held_out,
                    *([self.start] if self.start else []),
                ]
            )
        ]

    @property
    def rewards(self) -> list[str]:
        """Names of rewards, of which some may be stages."""
        return [term.reward for term in (*self.reward, *self.watch)]


class Sample(Drawing):
    """`sample: STAGE`, or `sample: base`: writes completions for the prompts of `on`."""

    sample: str
    on: str
    per_prompt: int = Field(default=4, ge=1)
    max_length: int = Field(default=1024, ge=8)
    batch_size: int = Field(default=64, ge=1)

    @property
    def inputs(self) -> list[str]:
        """Names of data or stages that this stage needs."""
        return [self.on, *([] if self.sample == BASE else [self.sample])]

    @property
    def rewards(self) -> list[str]:
        """None."""
        return []


class Label(Section):
    """`label: STAGE`: ranks the completions of a `sample` stage (or of data) by the reward `by`.

    noise: the temperature of a Plackett–Luce choice, for two completions σ(difference ÷ noise); 0 ranks by
    the reward itself.
    """

    label: str
    by: Rewards = Field(min_length=1)
    noise: float = Field(default=0.0, ge=0)
    max_length: int = Field(default=1024, ge=8)

    @property
    def inputs(self) -> list[str]:
        """Names of data or stages that this stage needs."""
        return [self.label]

    @property
    def rewards(self) -> list[str]:
        """Names of rewards, of which some may be stages."""
        return [term.reward for term in self.by]


class Target(Section):
    """What is evaluated: a training stage or the base; with `best_of` n the best of n samples by the reward
    `by`.
    """

    stage: str
    best_of: int = Field(default=1, ge=1)
    by: Rewards = ()

    @model_validator(mode="after")
    def _best_by_what(self) -> Target:
        if self.best_of > 1 and not self.by:
            raise ValueError("best_of needs `by`: the reward that chooses")
        return self

    @property
    def name(self) -> str:
        """How the target is called in tables."""
        return f"{self.stage} best of {self.best_of}" if self.best_of > 1 else self.stage


def _read_targets(raw: Any) -> Any:
    return tuple({"stage": name, **options} for name, options in _named(raw, "a stage"))


class Evaluate(Drawing):
    """`evaluate: [STAGE, …]`: samples of each on the prompts of `on`, measured; of reward models, their
    accuracy on the pairs of `on`.

    by: rewards, the first the one that counts most, and measures; without the name of a measure all are
    taken. against: the stage that win rates and the KL divergence refer to.
    """

    evaluate: Annotated[tuple[Target, ...], BeforeValidator(_read_targets)] = Field(min_length=1)
    on: str
    by: Rewards = ()
    against: str = BASE
    per_prompt: int = Field(default=1, ge=1)
    max_length: int = Field(default=1024, ge=8)
    batch_size: int = Field(default=64, ge=1)

    @property
    def inputs(self) -> list[str]:
        """Names of data or stages that this stage needs."""
        stages = [*(target.stage for target in self.evaluate), self.against]
        return [self.on, *dict.fromkeys(stage for stage in stages if stage != BASE)]

    @property
    def rewards(self) -> list[str]:
        """Names of rewards, of which some may be stages."""
        return [term.reward for term in (*self.by, *(term for target in self.evaluate for term in target.by))]


StageSettings = Train | Sample | Label | Evaluate
VERBS: dict[str, type[Train] | type[Sample] | type[Label] | type[Evaluate]] = {
    "train": Train,
    "sample": Sample,
    "label": Label,
    "evaluate": Evaluate,
}
