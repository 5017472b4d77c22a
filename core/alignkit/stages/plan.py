"""What a recipe will do: every name looked up and every option validated, before anything heavy loads."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignkit.errors import UserError, nearest
from alignkit.objective import Objective, OnlineObjective
from alignkit.recipe import (
    BASE,
    DataEntry,
    Drawing,
    Evaluate,
    Label,
    Recipe,
    RewardTerm,
    Sample,
    StageSettings,
    Train,
)
from alignkit.registry import Registry
from alignkit.rewards.kinds import WeightedReward
from alignkit.rewards.lookup import make_measured, make_rewards, require_once, trains_reward, validated
from alignkit.sampling.lookup import find_sampler


@dataclass(frozen=True)
class PlannedTerm:
    """One validated objective of a training stage. `on` names its data."""

    objective: Objective
    weight: float
    on: str

    @property
    def online(self) -> bool:
        """Whether the objective learns from its own samples."""
        return isinstance(self.objective, OnlineObjective)


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its objectives and rewards made and checked.

    rewards: what a stage trains for, labels by, or evaluates by; watch: what training measures besides; best:
    for each target of `evaluate`, the rewards that choose among its samples.
    """

    name: str
    stage: StageSettings
    terms: tuple[PlannedTerm, ...] = ()
    rewards: tuple[WeightedReward, ...] = ()
    watch: tuple[WeightedReward, ...] = ()
    best: tuple[tuple[WeightedReward, ...], ...] = ()
    measures: tuple[str, ...] = ()
    held_out: DataEntry | None = None

    @property
    def line(self) -> str:
        """The stage in one line, for `alignkit check`."""
        stage = self.stage
        if isinstance(stage, Train):
            terms = " + ".join(
                f"{term.weight:g} × {_options(term.objective)}"
                if term.weight != 1
                else _options(term.objective)
                for term in self.terms
            )
            length = f"{stage.steps} steps" if stage.steps else f"{stage.epochs:g} epochs"
            start = f", starting from {stage.start}" if stage.start else ""
            for_ = f" for {_names(self.rewards)}" if self.rewards else ""
            roles = ", ".join(sorted(set().union(*(term.objective.trains for term in self.terms))))
            pace = f"{length} of {stage.batch_size} groups, learning rate {stage.learning_rate:g}"
            return f"train {terms}{for_} on {stage.on}{start}: {pace}, trains {roles}"
        if isinstance(stage, Sample):
            return (
                f"sample {stage.per_prompt} completions a prompt of {stage.on} from {stage.sample}, at most "
                f"{stage.max_tokens} tokens each"
            )
        if isinstance(stage, Evaluate):
            targets = ", ".join(target.name for target in stage.evaluate)
            if not self.measures:
                return f"evaluate the reward model {targets} on the pairs of {stage.on}"
            return (
                f"evaluate {targets} on {stage.on} by {_names(self.rewards) or 'measures alone'}, "
                f"against {stage.against}"
            )
        noise = f" with choice noise of temperature {stage.noise:g}" if stage.noise else ""
        return f"label {stage.label} by {_names(self.rewards)}{noise}"


@dataclass(frozen=True)
class Plan:
    """A recipe ready to run: its stages in order, and its data with paths resolved."""

    recipe: Recipe
    data: dict[str, DataEntry]
    stages: dict[str, PlannedStage]

    def lines(self) -> list[str]:
        """The plan, a line a stage."""
        width = max(map(len, self.stages))
        return [f"{name:<{width}}  {planned.line}" for name, planned in self.stages.items()]


def make_plan(recipe: Recipe, registry: Registry, beside: Path) -> Plan:
    """Validate a recipe against what is registered. Relative data paths are looked for here, then in the
    folder `beside`.
    """
    data = {name: resolve(spec, beside, f"data.{name}", registry) for name, spec in recipe.data.items()}
    # however it is spelled, it is one folder
    if recipe.model.base not in registry.models.items and Path(recipe.model.base).is_dir():
        model = recipe.model.model_copy(update={"base": str(Path(recipe.model.base).resolve())})
        recipe = recipe.model_copy(update={"model": model})
    stages = {
        name: _plan_stage(name, stage, recipe, registry, beside) for name, stage in recipe.stages.items()
    }
    return Plan(recipe, data, stages)


def resolve(spec: DataEntry, beside: Path, where: str, registry: Registry) -> DataEntry:
    """The data entry with a local path made findable; a path that looks local and does not exist is an
    error.
    """
    from alignkit.data.reading import is_local

    if spec.format != "auto":
        from alignkit.data.formats import BUILT_IN

        known = {**BUILT_IN, **registry.formats.items}
        if spec.format not in known:
            raise UserError(
                f"no format is called {spec.format!r}",
                where=f"{where}.format",
                hint=nearest(spec.format, known),
            )
    if not is_local(spec.path):
        return spec
    for place in (Path(spec.path).expanduser(), beside / spec.path):
        if os.path.exists(place):  # unlike Path.exists, no error where a folder may not be searched
            return spec.model_copy(update={"path": str(place)})
    folder = Path(spec.path).expanduser().parent
    known = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    hint = nearest(Path(spec.path).name, known) if known else f"There is no folder {str(folder)!r} either."
    raise UserError(f"no file {spec.path!r}", where=f"{where}.path", hint=hint)


def _plan_stage(
    name: str, stage: StageSettings, recipe: Recipe, registry: Registry, beside: Path
) -> PlannedStage:
    where = f"stages.{name}"
    if isinstance(stage, Train):
        return _plan_train(PlannedStage(name, stage), stage, recipe, registry, beside)
    if isinstance(stage, Sample):
        _check_drawing(stage, stage.max_length, registry, where)
        _require_policy(recipe, stage.sample, registry, f"{where}.sample")
        return PlannedStage(name, stage)
    if isinstance(stage, Label):
        if stage.label in recipe.stages:
            _require(recipe, stage.label, Sample, f"{where}.label")
        return PlannedStage(name, stage, rewards=make_rewards(stage.by, recipe, registry, f"{where}.by"))
    return _plan_evaluate(name, stage, recipe, registry)


def _plan_evaluate(name: str, stage: Evaluate, recipe: Recipe, registry: Registry) -> PlannedStage:
    where = f"stages.{name}"
    for target in stage.evaluate:
        if target.stage != BASE:
            _require(recipe, target.stage, Train, f"{where}.evaluate")
    require_once([target.name for target in stage.evaluate], f"{where}.evaluate")
    judges = [
        t for t in stage.evaluate if t.stage != BASE and trains_reward(recipe.stages[t.stage], registry)
    ]
    if judges and len(judges) < len(stage.evaluate):
        raise UserError(
            f"{judges[0].stage!r} is a reward model, and others of these are not",
            where=f"{where}.evaluate",
            hint="Evaluate reward models on pairs and policies on prompts, in two stages.",
        )
    if judges and stage.by:
        raise UserError("reward models are judged by the data's ranks, not by rewards", where=f"{where}.by")
    if any(judge.best_of > 1 for judge in judges):
        raise UserError(
            "a reward model scores completions and writes none, of which to take the best",
            where=f"{where}.evaluate",
        )
    if not judges:
        _check_drawing(stage, stage.max_length, registry, where)
    if stage.temperature == 0 and any(target.best_of > 1 for target in stage.evaluate):
        raise UserError(
            "at temperature 0 all samples are the same, so there is no best of them",
            where=f"{where}.temperature",
        )
    _require_policy(recipe, stage.against, registry, f"{where}.against")
    named = [
        term
        for term in stage.by
        if term.reward in registry.measures.items and term.reward not in recipe.stages
    ]
    for term in named:
        if term != RewardTerm(reward=term.reward):
            raise UserError(
                f"{term.reward!r} is a measure here, which takes no options and no weight",
                where=f"{where}.by.{term.reward}",
            )
    measures = (
        () if judges else tuple(term.reward for term in named) or tuple(sorted(registry.measures.items))
    )
    rewards = make_measured(
        tuple(term for term in stage.by if term not in named), recipe, registry, f"{where}.by"
    )
    require_once([*(reward.name for reward in rewards), *measures], f"{where}.by")
    best = tuple(make_rewards(target.by, recipe, registry, f"{where}.evaluate") for target in stage.evaluate)
    return PlannedStage(name, stage, rewards=rewards, best=best, measures=measures)


def _plan_train(
    planned: PlannedStage, stage: Train, recipe: Recipe, registry: Registry, beside: Path
) -> PlannedStage:
    where = f"stages.{planned.name}"
    terms = tuple(
        PlannedTerm(
            _make_objective(registry, term.objective, term.options, f"{where}.train"),
            term.weight,
            term.on or stage.on,
        )
        for term in stage.train
    )
    held_out = stage.held_out
    if isinstance(held_out, DataEntry):
        held_out = resolve(held_out, beside, f"{where}.held_out", registry)
    if isinstance(held_out, float) and not 0 < held_out < 1:
        raise UserError(f"a share lies between 0 and 1, found {held_out:g}", where=f"{where}.held_out")
    if stage.start:
        _require(recipe, stage.start, Train, f"{where}.start")
        if any("policy" in term.objective.trains for term in terms):
            _require_policy(recipe, stage.start, registry, f"{where}.start")
    online = [term for term in terms if term.online]
    if online and not stage.reward:
        raise UserError(
            f"the objective {online[0].objective.name!r} learns from rewards, and the stage names none",
            where=where,
            hint="Add `reward:`, a reward-model stage or one of: "
            f"{', '.join(sorted(registry.rewards.items))}.",
        )
    judged = any("reward" in set(term.objective.reads) - set(term.objective.trains) for term in terms)
    if not online and (stage.watch or (stage.reward and not judged)):
        raise UserError(
            "no objective of this stage samples completions, so there is nothing to reward",
            where=f"{where}.{'watch' if stage.watch else 'reward'}",
        )
    for term in online:
        _check_online(term.objective, stage, registry, where)
    rewards = make_rewards(stage.reward, recipe, registry, f"{where}.reward")
    if judged and sum(reward.call is None for reward in rewards) != 1:
        raise UserError(
            "an objective of this stage reads a reward model",
            where=f"{where}.reward",
            hint="Name one stage that trains a reward model in `reward:`.",
        )
    watch = make_measured(stage.watch, recipe, registry, f"{where}.watch")
    require_once([reward.name for reward in (*rewards, *watch)], f"{where}.watch")
    return replace(
        planned,
        terms=terms,
        rewards=rewards,
        watch=watch,
        held_out=held_out if isinstance(held_out, DataEntry) else None,
    )


def _check_online(objective: Objective, stage: Train, registry: Registry, where: str) -> None:
    """Refuse an objective that cannot learn from the samples that the stage would draw."""
    _check_drawing(stage.sampling, stage.max_length, registry, f"{where}.sampling")
    if stage.sampling.temperature == 0:
        raise UserError(
            "at temperature 0 all samples of a prompt are the same, and none is better",
            where=f"{where}.sampling.temperature",
        )
    if "policy" not in {*objective.trains, *objective.reads}:
        raise UserError(
            "it learns from the policy's samples, and neither trains nor reads the policy",
            where=f"{where}.train.{objective.name}",
            hint="Declare the policy in `trains` or `reads`.",
        )
    assert isinstance(objective, OnlineObjective)
    if objective.minibatches > stage.batch_size:
        raise UserError(
            f"{objective.minibatches} minibatches cannot be made of {stage.batch_size} prompts",
            where=f"{where}.train.{objective.name}.minibatches",
            hint="A minibatch holds whole prompts: raise batch_size or lower minibatches.",
        )


def _check_drawing(drawing: Drawing, max_length: int, registry: Registry, where: str) -> None:
    """Refuse a sampler that cannot be used here, and completions that leave no room for a prompt."""
    find_sampler(registry, drawing.sampler, f"{where}.sampler")
    if drawing.max_tokens >= max_length:
        raise UserError(
            f"a completion of {drawing.max_tokens} tokens leaves no room for a prompt within max_length "
            f"{max_length}",
            where=f"{where}.max_tokens",
            hint="max_length holds the prompt and its completion: raise it, or lower max_tokens.",
        )


def _require_policy(recipe: Recipe, name: str, registry: Registry, where: str) -> None:
    if name == BASE:
        return
    _require(recipe, name, Train, where)
    if trains_reward(recipe.stages[name], registry):
        raise UserError(
            f"the stage {name!r} is a reward model; it scores completions and writes none", where=where
        )


def _require(recipe: Recipe, name: str, verb: type[Train] | type[Sample], where: str) -> None:
    stage = recipe.stages.get(name)
    if not isinstance(stage, verb):
        found = "data" if stage is None else f"a {type(stage).__name__.lower()} stage"
        raise UserError(f"{name!r} is {found}; a {verb.__name__.lower()} stage is needed here", where=where)


def _make_objective(registry: Registry, name: str, options: dict[str, Any], where: str) -> Objective:
    objective: Objective = validated(registry.objectives.get(name, where), options, f"{where}.{name}")
    if not objective.trains:
        raise UserError(
            "the objective trains no role",
            where=f"{where}.{name}",
            hint="Declare `trains`: policy, reward or value.",
        )
    return objective


def _options(objective: Objective) -> str:
    options = ", ".join(f"{key}={value}" for key, value in objective.model_dump(exclude_unset=True).items())
    return f"{objective.name}({options})" if options else objective.name


def _names(rewards: tuple[WeightedReward, ...]) -> str:
    return " + ".join(
        reward.name if reward.weight == 1 else f"{reward.weight:g} × {reward.name}" for reward in rewards
    )
