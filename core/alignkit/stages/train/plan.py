"""Plans `train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from alignkit.errors import UserError
from alignkit.measure import Metric
from alignkit.objective import (
    Objective,
    OnlineObjective,
    trained_by,
)
from alignkit.observer import Observer
from alignkit.optimizer import Optimizer
from alignkit.recipe import DataEntry, Recipe, Term, Train
from alignkit.recipe.mistakes import validate
from alignkit.registry import Registry
from alignkit.rewards.kinds import Rewards, written
from alignkit.rewards.lookup import find_measured, find_rewards, require_once
from alignkit.run.manifest import TermInputs
from alignkit.signals import KINDS
from alignkit.stages.entries import resolve
from alignkit.stages.planned import PlannedStage, Used, used_rewards
from alignkit.stages.reward_roles import bind_roles
from alignkit.stages.train.bindings import PlannedRole, plan_roles
from alignkit.stages.train.declarations import require_declarations
from alignkit.stages.train.demands import (
    require_samples,
    require_sources,
    require_start,
    require_use_of_rewards,
)
from alignkit.stages.train.lookup import find_observers, find_optimizer, require_rates
from alignkit.training.metrics import metrics_of

WITHOUT_EFFECT = {"trackers", "keep_checkpoints", "save_every", "preview_every", "previews"}
"""Settings on which the result does not depend."""
USUAL_OPTIMIZER = "adamw"
"""The optimizer that the line of a stage does not name."""
HELD_OUT_ENTRY = "held out"


@dataclass(frozen=True)
class PlannedTerm:
    """One validated objective of a training stage. on: the name of its data."""

    objective: Objective
    weight: float
    on: str

    @property
    def online(self) -> bool:
        """Tell whether the objective learns from its own samples."""
        return isinstance(self.objective, OnlineObjective)

    def __str__(self) -> str:
        """Write the objective with the options that are set, and its weight where it has one."""
        text = with_options(self.objective)
        return text if self.weight == 1 else f"{self.weight:g} × {text}"


@dataclass(frozen=True)
class PlannedTrain(PlannedStage[Train]):
    """A stage that trains roles on the weighted sum of its objectives.

    roles: all that the objectives name, those first whose adapter others share. rewards: what online
    objectives maximize, or the reward model that an objective reads. watch: rewards that are only measured.
    held_out: a data entry of the stage's own. observers: what looks on, and may stop it. split_by: the seed
    that decides which prompts are held out, where a share is; it is the recipe's, so that all stages hold out
    the same prompts.
    """

    verb: ClassVar[str] = "train"
    objectives: tuple[PlannedTerm, ...]
    optimizer: Optimizer
    roles: tuple[PlannedRole, ...] = ()
    rewards: Rewards = ()
    watch: Rewards = ()
    held_out: DataEntry | None = None
    observers: tuple[Observer, ...] = ()
    split_by: int = 0

    @property
    def online(self) -> bool:
        """Tell whether an objective of the stage learns from its own samples."""
        return any(term.online for term in self.objectives)

    @property
    def prompts(self) -> frozenset[str]:
        """Return the columns of the data that roles read completions after."""
        return frozenset(role.prompt for role in self.roles if role.prompt is not None)

    @property
    def line(self) -> str:
        """Say what the stage does, in one line."""
        wanted = self.settings
        parts = [
            f"train {' + '.join(map(str, self.objectives))}",
            f" for {written(self.rewards)}" if self.rewards else "",
            f" on {wanted.on}",
            f", starting from {wanted.start}" if wanted.start else "",
            f": {wanted.steps} steps" if wanted.steps else f": {wanted.epochs:g} epochs",
            f" of {wanted.batch_size} groups, learning rate {self._rates}",
            f" by {with_options(self.optimizer)}" if self.optimizer.name != USUAL_OPTIMIZER else "",
            f", trains {', '.join(role.name for role in self.roles if role.trainable)}",
            *(f", {role}" for role in self.roles if role.name in wanted.roles),
            f", observed by {', '.join(map(with_options, self.observers))}" if self.observers else "",
        ]
        return "".join(parts)

    @property
    def _rates(self) -> str:
        rate = self.settings.learning_rate
        if isinstance(rate, dict):
            return ", ".join(f"{rate[role]:g} for {role}" for role in sorted(rate))
        return f"{rate:g}"

    @property
    def stoppers(self) -> list[Observer]:
        """Return the observers that may end the stage: the result depends on them, and on no others."""
        return [observer for observer in self.observers if observer.stops]

    def uses(self, registry: Registry) -> list[Used]:
        """Return the objectives, the rewards, the sampler where one is needed, optimizer and observers."""
        objectives = [(registry.objectives, term.objective.name) for term in self.objectives]
        sampler = [(registry.samplers, self.settings.sampling.sampler)] if self.online else []
        observers = [(registry.observers, observer.name) for observer in self.stoppers]
        training = [(registry.optimizers, self.optimizer.name), *observers]
        return [*objectives, *used_rewards(registry, self.rewards, self.watch), *sampler, *training]

    @property
    def entries(self) -> Mapping[str, DataEntry]:
        """Return the held-out data, where the stage brings its own."""
        return {HELD_OUT_ENTRY: self.held_out} if self.held_out is not None else {}

    @property
    def terms(self) -> tuple[TermInputs, ...]:
        """Return the objectives, as the manifest keeps them."""
        return tuple(
            TermInputs(
                term.objective.name,
                term.weight,
                term.on,
                {name: role.kind for name, role in trained_by(term.objective).items()},
                term.objective.model_dump(mode="json"),
            )
            for term in self.objectives
        )

    @property
    def effective_settings(self) -> dict[str, Any]:
        """Return the settings that the result depends on, without the objectives and the held-out entry.

        Optimizer and observers are there with all their options.
        """
        entry = {"held_out"} if self.held_out is not None else set()
        left_out = {"train", *self.without_effect, *WITHOUT_EFFECT, *entry}
        return {
            **self.settings.model_dump(mode="json", exclude=left_out),
            "optimizer": {self.optimizer.name: self.optimizer.model_dump(mode="json")},
            "observers": {observer.name: observer.model_dump(mode="json") for observer in self.stoppers},
            **({"split_by": self.split_by} if isinstance(self.settings.held_out, float) else {}),
        }

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Return the label and unit of each number in `metrics.jsonl`, by name."""
        from alignkit.evaluation.preferences import LENGTH_ONLY, MEASURES

        rewards = [reward.name for reward in (*self.rewards, *self.watch)] if self.online else []
        objectives = [term.objective for term in self.objectives]
        rated = sorted(self.settings.learning_rate) if isinstance(self.settings.learning_rate, dict) else []
        return {**metrics_of(objectives, rewards, rated), LENGTH_ONLY: MEASURES[LENGTH_ONLY]}


def plan_train(name: str, settings: Train, recipe: Recipe, registry: Registry, beside: Path) -> PlannedTrain:
    """Make the objectives, look up the rewards, and check that they go together."""
    where = f"stages.{name}"
    terms = tuple(_plan_term(term, settings.on, registry, f"{where}.train") for term in settings.train)
    held_out = _held_out(settings, where, registry, beside)
    objectives = [term.objective for term in terms]
    require_start(settings, objectives, recipe, registry, f"{where}.start")
    for term in terms:
        if isinstance(term.objective, OnlineObjective):
            require_samples(term.objective, settings, registry, where)
    reads_model = "reward" not in settings.roles and any(
        "reward" in {*t.objective.reads} - {*t.objective.trains} for t in terms
    )
    require_use_of_rewards(settings, objectives, reads_model, where)
    rewards = find_rewards(settings.reward, recipe, registry, f"{where}.reward")
    if reads_model and sum(reward.is_model for reward in rewards) != 1:
        raise UserError(
            "an objective of this stage reads a reward model",
            where=f"{where}.reward",
            hint="Name one stage that trains a reward model in `reward:`.",
        )
    roles = plan_roles(objectives, settings, rewards, recipe, registry, where)
    own = {role.name for role in roles if not KINDS[role.kind].headed}
    rewards = bind_roles(rewards, recipe, registry, f"{where}.reward", own=own)
    watch = find_measured(settings.watch, recipe, registry, f"{where}.watch")
    watch = bind_roles(watch, recipe, registry, f"{where}.watch", own=own)
    require_once([reward.name for reward in (*rewards, *watch)], f"{where}.watch")
    trained = {role.name for role in roles if role.trainable}
    require_rates(settings.learning_rate, trained, f"{where}.learning_rate")
    optimizer = find_optimizer(settings.optimizer, registry, f"{where}.optimizer")
    observers = find_observers(settings.observers, registry, f"{where}.observers")
    needs = tuple(recipe.needs(settings))
    return PlannedTrain(
        name,
        settings,
        needs,
        terms,
        optimizer,
        roles,
        rewards,
        watch,
        held_out,
        observers,
        split_by=recipe.seed,
    )


def with_options(item: BaseModel) -> str:
    """Write the name of something registered, with the options that are set."""
    options = ", ".join(f"{key}={value}" for key, value in item.model_dump(exclude_unset=True).items())
    name = getattr(item, "name", type(item).__name__)
    return f"{name}({options})" if options else name


def _plan_term(term: Term, on: str, registry: Registry, where: str) -> PlannedTerm:
    """Make the objective with its options."""
    cls = registry.objectives.get(term.objective, where)
    objective: Objective = validate(cls, term.options, f"{where}.{term.objective}")
    require_declarations(objective, f"{where}.{term.objective}")
    if isinstance(objective, OnlineObjective):
        require_sources(objective, f"{where}.{term.objective}")
    return PlannedTerm(objective, term.weight, term.on or on)


def _held_out(settings: Train, where: str, registry: Registry, beside: Path) -> DataEntry | None:
    """Return held-out data that the stage brings itself."""
    held_out = settings.held_out
    if isinstance(held_out, float) and not 0 < held_out < 1:
        raise UserError(f"a share lies between 0 and 1, found {held_out:g}", where=f"{where}.held_out")
    if not isinstance(held_out, DataEntry):
        return None
    return resolve(held_out, beside, f"{where}.held_out", registry)
