"""Gives a training stage its roles, and saves the adapters of those that were trained."""

from __future__ import annotations

from alignkit.models.roles import Roles
from alignkit.run.folder import StageFolder
from alignkit.stages.context import RunContext
from alignkit.stages.train.plan import PlannedTrain


def make_roles(stage: PlannedTrain, context: RunContext) -> Roles:
    """Add the roles that the stage's objectives train and read.

    Trained roles and the reference begin as the adapter of the `start` stage. Where the stage has a reward
    model among its rewards, a value model begins as a copy of it, because it predicts that model's score; and
    an objective that reads a reward reads that model. LoRA's dropout is off where a method learns from its
    own samples, because the ratio of a token's probability to that at sampling would be noise.
    """
    dropout = context.base.settings.lora.dropout
    if stage.online and dropout:
        context.display.note(
            "dropout is off in this stage, which compares probabilities with those at sampling"
        )
    model = next((reward.name for reward in stage.rewards if reward.is_model), None)
    roles = context.base.roles(context.seed, dropout=not stage.online)
    for name in [*sorted(stage.trains), *sorted(stage.reads_only)]:
        from_model = name == "value" or (name == "reward" and name in stage.reads_only)
        start = model if from_model and model is not None else stage.settings.start
        roles.add(name, trainable=name in stage.trains, start=context.run.start(start))
    return roles


def save_trained(roles: Roles, folder: StageFolder) -> None:
    """Write each trained role: `adapter` for the policy or the only role, `adapter-ROLE` for the others."""
    trained = sorted(name for name, role in roles.roles.items() if role.trainable)
    main = "policy" if "policy" in trained else trained[0]
    for name in trained:
        roles.save(name, folder.adapter if name == main else folder.adapter_beside(name))
