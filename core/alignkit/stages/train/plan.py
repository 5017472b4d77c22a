"""Plans `train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from alignkit.errors import UserError
from alignkit.measure import Metric
from alignkit.objective import Objective, OnlineObjective, roles_of, trained_by
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
from alignkit.stages.requirements import require_drawable, require_policy, require_stage
from alignkit.stages.reward_roles import bind_roles
from alignkit.stages.train.bindings import PlannedRole, plan_roles
from alignkit.stages.train.lookup import find_observers, find_optimizer, require_rates
from alignkit.training.metrics import metrics_of

WITHOUT_EFFECT = {"trackers", "keep_checkpoints", "save_every"}
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
    held_out: a data entry of the stage's own. observers: what looks on, and may stop it.
    """

    verb: ClassVar[str] = "train"
    objectives: tuple[PlannedTerm, ...]
    optimizer: Optimizer
    roles: tuple[PlannedRole, ...] = ()
    rewards: Rewards = ()
    watch: Rewards = ()
    held_out: DataEntry | None = None
    observers: tuple[Observer, ...] = ()

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
            f" of {wanted.batch_size} groups, learning rate {wanted.learning_rate:g}",
            f", trains {', '.join(role.name for role in self.roles if role.trainable)}",
            *(f", {role}" for role in self.roles if role.name in wanted.roles),
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
        """Return the settings that the result depends on, without the objectives and the held-out entry."""
        left_out = {"train", "seed", *WITHOUT_EFFECT, *({"held_out"} if self.held_out is not None else ())}
        return self.settings.model_dump(mode="json", exclude=left_out)
        """Return the settings that the result depends on, without the objectives and the held-out entry.

        Optimizer and observers are there with all their options.
        """
        left_out = {"train", "seed", *WITHOUT_EFFECT, *({"held_out"} if self.held_out is not None else ())}
        return {
            **self.settings.model_dump(mode="json", exclude=left_out),
            "optimizer": {self.optimizer.name: self.optimizer.model_dump(mode="json")},
            "observers": {observer.name: observer.model_dump(mode="json") for observer in self.stoppers},
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
    _require_start(settings, terms, recipe, registry, f"{where}.start")
    for term in terms:
        if isinstance(term.objective, OnlineObjective):
            _require_samples(term.objective, settings, registry, where)
    reads_model = "reward" not in settings.roles and any(
        "reward" in {*t.objective.reads} - {*t.objective.trains} for t in terms
    )
    _require_use_of_rewards(settings, terms, reads_model, where)
    own = {
        name
        for term in terms
        for name in (*term.objective.trains, *term.objective.reads)
        if not KINDS[roles_of(term.objective)[name].kind].headed
    }
    rewards = find_rewards(settings.reward, recipe, registry, f"{where}.reward")
    rewards = bind_roles(rewards, recipe, registry, f"{where}.reward", own=own)
    if reads_model and sum(reward.is_model for reward in rewards) != 1:
        raise UserError(
            "an objective of this stage reads a reward model",
            where=f"{where}.reward",
            hint="Name one stage that trains a reward model in `reward:`.",
        )
    watch = find_measured(settings.watch, recipe, registry, f"{where}.watch")
    watch = bind_roles(watch, recipe, registry, f"{where}.watch", own=own)
    require_once([reward.name for reward in (*rewards, *watch)], f"{where}.watch")
    roles = plan_roles([term.objective for term in terms], settings, rewards, recipe, registry, where)
    trained = {role.name for role in roles if role.trainable}
    require_rates(settings.learning_rate, trained, f"{where}.learning_rate")
    optimizer = find_optimizer(settings.optimizer, registry, f"{where}.optimizer")
    observers = find_observers(settings.observers, registry, f"{where}.observers")
    needs = tuple(recipe.needs(settings))
    return PlannedTrain(name, settings, needs, terms, optimizer, roles, rewards, watch, held_out, observers)


def with_options(item: BaseModel) -> str:
    """Write the name of something registered, with the options that are set."""
    options = ", ".join(f"{key}={value}" for key, value in item.model_dump(exclude_unset=True).items())
    name = getattr(item, "name", type(item).__name__)
    return f"{name}({options})" if options else name


def _plan_term(term: Term, on: str, registry: Registry, where: str) -> PlannedTerm:
    """Make the objective with its options."""
    cls = registry.objectives.get(term.objective, where)
    objective: Objective = validate(cls, term.options, f"{where}.{term.objective}")
    if not objective.trains:
        raise UserError(
            "the objective trains no role",
            where=f"{where}.{term.objective}",
            hint="Declare `trains`: one or more roles, such as policy, reward or value.",
        )
    return PlannedTerm(objective, term.weight, term.on or on)


def _held_out(settings: Train, where: str, registry: Registry, beside: Path) -> DataEntry | None:
    """Return held-out data that the stage brings itself."""
    held_out = settings.held_out
    if isinstance(held_out, float) and not 0 < held_out < 1:
        raise UserError(f"a share lies between 0 and 1, found {held_out:g}", where=f"{where}.held_out")
    if not isinstance(held_out, DataEntry):
        return None
    return resolve(held_out, beside, f"{where}.held_out", registry)


def _require_start(
    settings: Train, terms: tuple[PlannedTerm, ...], recipe: Recipe, registry: Registry, where: str
) -> None:
    """Refuse a start from another verb's stage, and a policy that starts from a reward model."""
    if settings.start is None:
        return
    require_stage(recipe, settings.start, Train, where)
    if any("policy" in term.objective.trains for term in terms):
        require_policy(recipe, settings.start, registry, where)


def _require_samples(objective: OnlineObjective, settings: Train, registry: Registry, where: str) -> None:
    """Refuse an objective that cannot learn from the samples that the stage would draw."""
    if objective.rewarded and not settings.reward:
        raise UserError(
            f"the objective {objective.name!r} learns from rewards, and the stage names none",
            where=where,
            hint="Add `reward:`, a reward-model stage or one of: "
            f"{', '.join(sorted(registry.rewards.items))}.",
        )
    require_drawable(settings.sampling, settings.max_length, registry, f"{where}.sampling")
    if objective.rewarded and settings.sampling.temperature == 0:
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
    if objective.minibatches > settings.batch_size:
        raise UserError(
            f"{objective.minibatches} minibatches cannot be made of {settings.batch_size} prompts",
            where=f"{where}.train.{objective.name}.minibatches",
            hint="A minibatch holds whole prompts: raise batch_size or lower minibatches.",
        )


def _require_use_of_rewards(
    settings: Train, terms: tuple[PlannedTerm, ...], reads_model: bool, where: str
) -> None:
    """Refuse rewards in a stage that scores nothing, or that learns from no score."""
    online = [term.objective for term in terms if isinstance(term.objective, OnlineObjective)]
    if any(objective.rewarded for objective in online):
        return
    if online and settings.reward and not reads_model:
        raise UserError(
            "no objective of this stage learns from rewards",
            where=f"{where}.reward",
            hint="Name them in `watch:`, where they are only measured.",
        )
    if online:
        return
    if settings.watch or (settings.reward and not reads_model):
        raise UserError(
            "no objective of this stage samples completions, so there is nothing to reward",
            where=f"{where}.{'watch' if settings.watch else 'reward'}",
        )
