"""Defines what the report knows of a run: each stage with its numbers, its evaluation and its samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alignkit.evaluation.statistics import Bin, Interval
from alignkit.measure import Metric
from alignkit.run.kept_recipe import KeptRecipe
from alignkit.run.manifest import Manifest

REWARD_MODELS = "reward models"
"""The kind of an evaluation that assesses reward models; any other kind compares policies."""


@dataclass(frozen=True)
class Evaluation:
    """The measures of each target (a stage, or `base`) with their intervals.

    measures: the label and unit of each number. rewards: the numbers to maximize, the gold reward first.
    against: the target that the others are compared with. calibration: the curve of each reward model. each:
    the measures of every seed, by target and stage, of targets that were trained with several.
    """

    kind: str
    on: str
    targets: Mapping[str, Mapping[str, Interval]]
    measures: Mapping[str, Metric] = field(default_factory=dict)
    rewards: tuple[str, ...] = ()
    against: str | None = None
    prompts: int | None = None
    per_prompt: int | None = None
    calibration: Mapping[str, tuple[Bin, ...]] = field(default_factory=dict)
    each: Mapping[str, Mapping[str, Mapping[str, Interval]]] = field(default_factory=dict)

    @property
    def divergence(self) -> str | None:
        """Return the measure of the distance from the reference; None means that it was not measured."""
        return next((name for name, metric in self.measures.items() if metric.divergence), None)

    def metric(self, name: str) -> Metric:
        """Return a number's label and unit; the label of a number that is not listed is its name."""
        return self.measures.get(name, Metric(name))


@dataclass(frozen=True)
class Answers:
    """One prompt with the completions of each target and, by reward, their scores."""

    prompt: str
    completions: Mapping[str, tuple[str, ...]]
    scores: Mapping[str, Mapping[str, tuple[float | None, ...]]]


@dataclass(frozen=True)
class AnswerSet:
    """Answers that are shown together. title: where they are from. over_time: the columns are moments of
    one training, not policies.
    """

    title: str
    answers: tuple[Answers, ...]
    over_time: bool = False


@dataclass(frozen=True)
class Quantization:
    """What quantizing the base costs on a stage's data, in nats per token.

    loss, unquantized: the base's loss with and without. low, high: the interval of the cost. of: what was
    measured. why: the reason where nothing was.
    """

    quantization: str
    loss: float | None = None
    unquantized: float | None = None
    cost: float | None = None
    low: float | None = None
    high: float | None = None
    completions: int | None = None
    of: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class StageRecord:
    """What a stage left on disk.

    metrics: one record per step. summary: its final numbers. data: what became of the rows of each data set
    that it learned from, as in `data.json`.
    """

    name: str
    manifest: Manifest
    metrics: tuple[Mapping[str, float], ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    answers: tuple[AnswerSet, ...] = ()
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quantization: Quantization | None = None

    @property
    def verb(self) -> str:
        """Return the recipe's word for it: train, sample, label or evaluate."""
        return self.manifest.inputs.verb

    @property
    def line(self) -> str:
        """Say what the stage does, in one line."""
        return self.manifest.line

    @property
    def done(self) -> bool:
        """Tell whether the stage is finished."""
        return self.manifest.done

    @property
    def reads(self) -> tuple[str, ...]:
        """Return the names of the stages and data that the stage needed."""
        return tuple(self.manifest.inputs.reads)

    def rewards_in(self, setting: str) -> dict[str, Mapping[str, Any]]:
        """Return the rewards in one of the stage's settings, such as `watch`, by name."""
        return {part["reward"]: part for part in self.manifest.inputs.settings.get(setting) or ()}

    def metric(self, name: str) -> Metric:
        """Return a number's label and unit; the label of a number that is not listed is its name.

        name: as in `metrics.jsonl`, without `held_out/`.
        """
        return self.manifest.metrics.get(name, Metric(self.split(name)[1]))

    def title(self, name: str) -> str:
        """Return a number's name for people, with its unit; in a mixture the objective stands before it."""
        return f"{self.split(name)[0]}{self.metric(name)}"

    def split(self, name: str) -> tuple[str, str]:
        """Cut a number's name into `OBJECTIVE/` and the rest.

        Only the numbers of a mixture have an objective before them; for others the first part is empty.
        """
        terms = self.manifest.inputs.terms if len(self.manifest.inputs.terms) > 1 else ()
        prefixes = [f"{term.objective}/" for term in terms]
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        return prefix, name.removeprefix(prefix)


@dataclass(frozen=True)
class RunRecord:
    """A run: its stages in the recipe's order, then those that an earlier recipe left.

    recipe: None where an older version wrote the run: then each stage comes after those it reads.
    """

    name: str
    stages: tuple[StageRecord, ...]
    recipe: KeptRecipe | None = None

    @property
    def waiting(self) -> tuple[str, ...]:
        """Return the names of the recipe's stages that are not begun."""
        return tuple(name for name in (self.recipe.stages if self.recipe else ()) if name not in self.names)

    @property
    def done(self) -> bool:
        """Tell whether every stage is finished."""
        return not self.waiting and all(stage.done for stage in self.stages)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the stages."""
        return tuple(stage.name for stage in self.stages)
