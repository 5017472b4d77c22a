"""Trainers on tiny roles, of objectives on fixed groups and of objectives that sample for themselves."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tiny_models import Silent

from alignkit import Example, Group, Objective, Observer, OnlineObjective, Optimizer
from alignkit.data.loading import Dataset
from alignkit.data.report import Tally
from alignkit.models.computing import forward_budget
from alignkit.models.roles import Roles
from alignkit.recipe import Training
from alignkit.registry import Registry
from alignkit.rewards.kinds import RegisteredReward, WeightedReward
from alignkit.rewards.scoring import Scorer
from alignkit.run.folder import StageFolder
from alignkit.sampler import Sampler, Sampling
from alignkit.sampling.engine import sample
from alignkit.training.observing import Observing
from alignkit.training.rollouts import RolloutSource
from alignkit.training.sources import fixed_source
from alignkit.training.terms import TrainingTerm
from alignkit.training.trainer import Trainer


class TinySampler(Sampler):
    """Samples from a tiny model whose end-of-sequence is 1; `calls` are the steps sampled for."""

    name = "tiny"

    def __init__(self, roles: Roles) -> None:
        super().__init__(roles)
        self.calls: list[int] = []

    def sample(self, role, prompts, settings, *, numbers=None, progress=None):
        self.calls.append(settings.step)
        with self.roles.active(role) as model:
            return sample(model, prompts, settings, eos={1}, pad=0, numbers=numbers)


class TinyTerms:
    """Makes the terms of a trainer, all over the same roles and settings."""

    def __init__(self, roles: Roles, settings: Training, folder: Path, seed: int = 0) -> None:
        self.roles, self.settings, self.seed = roles, settings, seed
        self.folder, self.display = StageFolder(folder), Silent()
        self.count = 0

    def fixed(
        self,
        objective: Objective,
        groups: Sequence[Group],
        held_out: Sequence[Group] = (),
        weight: float = 1.0,
        **more,
    ) -> TrainingTerm:
        """A term on groups that do not change."""
        sources = [
            fixed_source(
                objective,
                some,
                self.roles,
                self.settings,
                folder=self.folder.signals(f"{name}-{self.count}"),
                seed=self.seed,
                note=self.display.note,
            )
            for name, some in (("train", groups), ("held-out", held_out))
        ]
        self.count += 1
        return TrainingTerm(objective, weight, sources[0], sources[1] if held_out else None, **more)

    def online(
        self,
        objective: OnlineObjective,
        prompts: Sequence[Group],
        reward: Callable[[list[int]], float | None] | None,
        max_tokens: int = 1,
    ) -> TrainingTerm:
        """A term that samples completions of the prompts; `reward`, if any, scores the tokens of one."""

        def table(prompts, completions, completion_ids, **columns):
            assert reward is not None
            return [reward(tokens) for tokens in completion_ids]

        rewards = () if reward is None else (WeightedReward(RegisteredReward("table", table)),)

        # The text holds a line separator, which ends no line of a file.
        examples = [Example(f"{number}\u2028") for number in range(len(prompts))]
        source = RolloutSource(
            objective,
            Dataset(examples, list(prompts), Tally("prompts").report()),
            TinySampler(self.roles),
            Scorer(rewards),
            self.roles,
            sampling=Sampling(objective.samples_per_prompt, max_tokens=max_tokens, seed=0),
            folder=self.folder.rollouts(objective.name),
            seed=self.seed,
            batch_size=self.settings.batch_size,
            budget=forward_budget(self.settings.micro_batch_tokens),
            note=self.display.note,
        )
        return TrainingTerm(objective, 1.0, source)

    def trainer(self, *terms: TrainingTerm, observers: Sequence[Observer] = ()) -> Trainer:
        """A trainer of the terms, with the optimizer that the settings name."""
        return Trainer(
            self.roles,
            terms,
            self.settings,
            folder=self.folder,
            display=self.display,
            seed=self.seed,
            optimizer=optimizer_of(self.settings),
            observing=Observing(observers),
        )


def optimizer_of(settings: Training) -> Optimizer:
    """Make the registered optimizer that the settings name."""
    (term,) = settings.optimizer
    return Registry().optimizers.get(term.optimizer)(**term.options)
