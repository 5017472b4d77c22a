"""What a recipe will do: every name looked up and every option validated, before anything heavy loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alignkit.errors import UserError, nearest
from alignkit.objective import Objective, OnlineObjective, Reward
from alignkit.recipe import Data, Recipe, Sample, Stage, Train, explain
from alignkit.registry import Registry


@dataclass(frozen=True)
class PlannedTerm:
    """One validated objective of a training stage. `on` names its data."""

    objective: Objective
    weight: float
    on: str


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its objectives (train) or its reward (label) made and checked."""

    name: str
    stage: Stage
    terms: tuple[PlannedTerm, ...] = ()
    reward: Reward | Callable[..., Any] | None = None
    held_out: Data | None = None

    @property
    def line(self) -> str:
        """The stage in one line, for `alignkit check`."""
        stage = self.stage
        if isinstance(stage, Train):
            terms = " + ".join(
                f"{term.weight:g} × {_options(term.objective)}" if term.weight != 1 else _options(term.objective) for term in self.terms
            )
            length = f"{stage.steps} steps" if stage.steps else f"{stage.epochs:g} epochs"
            start = f", starting from {stage.start}" if stage.start else ""
            roles = ", ".join(sorted(set().union(*(term.objective.trains for term in self.terms))))
            pace = f"{length} of {stage.batch_size} groups, learning rate {stage.learning_rate:g}"
            return f"train {terms} on {stage.on}{start}: {pace}, trains {roles}"
        if isinstance(stage, Sample):
            return (
                f"sample {stage.per_prompt} completions a prompt of {stage.on} from {stage.sample}, at most {stage.max_tokens} tokens each"
            )
        noise = f" with choice noise of temperature {stage.noise:g}" if stage.noise else ""
        return f"label {stage.label} by {stage.reward[0]}{noise}"


@dataclass(frozen=True)
class Plan:
    """A recipe ready to run: its stages in order, and its data with paths resolved."""

    recipe: Recipe
    data: dict[str, Data]
    stages: dict[str, PlannedStage]

    def lines(self) -> list[str]:
        """The plan, a line a stage."""
        width = max(map(len, self.stages))
        return [f"{name:<{width}}  {planned.line}" for name, planned in self.stages.items()]


def make_plan(recipe: Recipe, registry: Registry, beside: Path) -> Plan:
    """Validate a recipe against what is registered. Relative data paths are looked for here, then in the folder `beside`."""
    data = {name: resolve(spec, beside, f"data.{name}", registry) for name, spec in recipe.data.items()}
    stages = {name: _plan_stage(name, stage, recipe, registry, beside) for name, stage in recipe.stages.items()}
    return Plan(recipe, data, stages)


def resolve(spec: Data, beside: Path, where: str, registry: Registry) -> Data:
    """The data entry with a local path made findable; a path that looks local and does not exist is an error."""
    from alignkit.data.reading import is_local

    if spec.format != "auto":
        from alignkit.data.formats import BUILT_IN

        known = {**BUILT_IN, **registry.formats.items}
        if spec.format not in known:
            raise UserError(f"no format is called {spec.format!r}", where=f"{where}.format", hint=nearest(spec.format, known))
    if not is_local(spec.path):
        return spec
    for place in (Path(spec.path).expanduser(), beside / spec.path):
        if place.exists():
            return spec.model_copy(update={"path": str(place)})
    folder = Path(spec.path).expanduser().parent
    known = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    hint = nearest(Path(spec.path).name, known) if known else f"There is no folder {str(folder)!r} either."
    raise UserError(f"no file {spec.path!r}", where=f"{where}.path", hint=hint)


def _plan_stage(name: str, stage: Stage, recipe: Recipe, registry: Registry, beside: Path) -> PlannedStage:
    planned = PlannedStage(name, stage)
    if isinstance(stage, Train):
        terms = tuple(
            PlannedTerm(_make_objective(registry, term.objective, term.options, f"stages.{name}.train"), term.weight, term.on or stage.on)
            for term in stage.train
        )
        held_out = stage.held_out
        if isinstance(held_out, Data):
            held_out = resolve(held_out, beside, f"stages.{name}.held_out", registry)
        if isinstance(held_out, float) and not 0 < held_out < 1:
            raise UserError(f"a share lies between 0 and 1, found {held_out:g}", where=f"stages.{name}.held_out")
        if stage.start:
            _require(recipe, stage.start, Train, f"stages.{name}.start")
        return replace(planned, terms=terms, held_out=held_out if isinstance(held_out, Data) else None)
    if isinstance(stage, Sample):
        if stage.sample != "base":
            _require(recipe, stage.sample, Train, f"stages.{name}.sample")
        return planned
    if stage.label in recipe.stages:
        _require(recipe, stage.label, Sample, f"stages.{name}.label")
    return replace(planned, reward=_make_reward(registry, *stage.reward, where=f"stages.{name}.by"))


def _require(recipe: Recipe, name: str, verb: type[Train] | type[Sample], where: str) -> None:
    stage = recipe.stages.get(name)
    if not isinstance(stage, verb):
        found = "data" if stage is None else f"a {type(stage).__name__.lower()} stage"
        raise UserError(f"{name!r} is {found}; a {verb.__name__.lower()} stage is needed here", where=where)


def _make_objective(registry: Registry, name: str, options: dict[str, Any], where: str) -> Objective:
    cls = registry.objectives.get(name, where)
    objective = _validated(cls, options, f"{where}.{name}")
    if isinstance(objective, OnlineObjective):
        raise UserError(f"the objective {name!r} learns from its own samples, which this version does not run yet", where=where)
    return objective


def _make_reward(registry: Registry, name: str, options: dict[str, Any], where: str) -> Reward | Callable[..., Any]:
    reward = registry.rewards.get(name, where)
    if isinstance(reward, type):
        return _validated(reward, options, f"{where}.{name}")
    if options:
        raise UserError(f"the reward {name!r} is a plain function and takes no options", where=where)
    return reward


def _validated(cls: Any, options: dict[str, Any], where: str) -> Any:
    try:
        return cls(**options)
    except ValidationError as error:
        raise explain(error, cls, where) from error


def _options(objective: Objective) -> str:
    options = ", ".join(f"{key}={value}" for key, value in objective.model_dump(exclude_unset=True).items())
    return f"{objective.name}({options})" if options else objective.name
