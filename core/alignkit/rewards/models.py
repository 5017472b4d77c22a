"""Scores completions by reward models: frozen roles over the base that the policy shares."""

from __future__ import annotations

from collections.abc import Sequence

from alignkit.example import Group
from alignkit.models.computing import compute_signals
from alignkit.models.roles import Roles
from alignkit.progress import Progress
from alignkit.rewards.kinds import RewardModel
from alignkit.run.folder import RunFolder
from alignkit.signals import signal_name


class RewardModels:
    """The reward models of a run's finished stages, loaded as frozen roles of `roles`.

    budget: tokens that are computed at once.
    """

    def __init__(self, roles: Roles, run: RunFolder, budget: int) -> None:
        self.roles, self.run, self.budget = roles, run, budget

    def load(self, model: RewardModel) -> None:
        """Add the reward model as a role, once."""
        if _role(model) not in self.roles.roles:
            adapter = self.run.stage(model.name).adapter
            self.roles.add(_role(model), kind="reward", trainable=False, start=adapter)

    def scores(
        self, model: RewardModel, groups: Sequence[Group], progress: Progress | None = None
    ) -> list[list[float]]:
        """Return the score of each completion, as [group][completion]. progress: counts groups."""
        computed = compute_signals(self.roles, groups, [_role(model)], self.budget, progress=progress)
        found = computed[signal_name(_role(model), "reward")]
        return [part.tolist() for part in found.split([len(group.completions) for group in groups])]


def _role(model: RewardModel) -> str:
    return f"reward-{model.name}"
