"""Makes the sources of a training stage's groups."""

from __future__ import annotations

from functools import cached_property, partial

from alignkit.data.loading import Dataset
from alignkit.models.computing import forward_budget
from alignkit.models.roles import Roles
from alignkit.objective import OnlineObjective
from alignkit.progress import counting
from alignkit.rewards.engine import make_engines
from alignkit.rewards.models import RewardModels
from alignkit.rewards.scoring import Scorer
from alignkit.run.folder import StageFolder
from alignkit.sampler import Sampler
from alignkit.sampling.lookup import make_sampler
from alignkit.stages.context import RunContext
from alignkit.stages.train.plan import PlannedTrain
from alignkit.training.rollouts import RolloutSource
from alignkit.training.sources import FixedSource, Source, fixed_source


class StageSources:
    """Makes the sources of a stage. Its online objectives share one sampler and one scorer."""

    def __init__(self, stage: PlannedTrain, context: RunContext, folder: StageFolder, roles: Roles) -> None:
        self.stage, self.context, self.folder, self.roles = stage, context, folder, roles
        self.budget = forward_budget(stage.settings.micro_batch_tokens)
        self.progress = partial(counting, context.display)

    @cached_property
    def sampler(self) -> Sampler:
        """Return what draws completions from the policy."""
        wanted = self.stage.settings.sampling
        return make_sampler(self.context.registry, wanted.sampler, self.roles, wanted.weights)

    @cached_property
    def scorer(self) -> Scorer:
        """Return what scores the completions."""
        models = RewardModels(self.roles, self.context.run, self.budget)
        engines = make_engines(
            (*self.stage.rewards, *self.stage.watch),
            self.roles,
            self.context.run,
            self.sampler,
            seed=self.context.seed,
            budget=self.budget,
            progress=self.progress,
        )
        return Scorer(
            self.stage.rewards,
            self.stage.watch,
            models,
            engines=engines,
            text=self.roles.base.text,
            progress=self.progress,
        )

    def of(self, number: int, dataset: Dataset) -> Source:
        """Make the source of objective `number` from its data."""
        objective = self.stage.objectives[number].objective
        if isinstance(objective, OnlineObjective):
            return self._rollouts(objective, dataset)
        return self._fixed(number, dataset, f"train-{number}")

    def held_out(self, number: int, dataset: Dataset | None) -> FixedSource | None:
        """Make the source of an objective's held-out data, if it has any."""
        return None if dataset is None else self._fixed(number, dataset, f"held-out-{number}")

    def _rollouts(self, objective: OnlineObjective, prompts: Dataset) -> RolloutSource:
        wanted, seed = self.stage.settings, self.context.seed
        return RolloutSource(
            objective,
            prompts,
            self.sampler,
            self.scorer,
            self.roles,
            sampling=wanted.sampling.sampling(objective.samples_per_prompt, seed),
            folder=self.folder.rollouts(objective.name),
            seed=seed,
            batch_size=wanted.batch_size,
            budget=self.budget,
            note=self.context.display.note,
            progress=self.progress,
        )

    def _fixed(self, number: int, dataset: Dataset, name: str) -> FixedSource:
        return fixed_source(
            self.stage.objectives[number].objective,
            dataset.groups,
            self.roles,
            self.stage.settings,
            folder=self.folder.signals(name),
            seed=self.context.seed,
            note=self.context.display.note,
            absent=dataset.report.left_out,
        )
