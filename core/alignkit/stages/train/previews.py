"""Chooses the prompts of a training stage's previews, and makes what answers them."""

from __future__ import annotations

from alignkit.data.loading import Dataset
from alignkit.models.roles import Roles
from alignkit.objective import Prompts
from alignkit.recipe import DataEntry
from alignkit.run.folder import StageFolder
from alignkit.sampling.lookup import make_sampler
from alignkit.signals import POLICY
from alignkit.stages.context import RunContext
from alignkit.stages.train.plan import HELD_OUT_ENTRY, PlannedTrain
from alignkit.training.previews import PreviewPrompts, Previews

SAMPLER = "engine"
"""The sampler of previews. It draws from the base as it is: a few prompts need no copy of the weights."""


def make_previews(
    stage: PlannedTrain,
    context: RunContext,
    folder: StageFolder,
    roles: Roles,
    dataset: Dataset,
    held_out: Dataset | None,
) -> Previews | None:
    """Return the previews of a stage that trains a policy; None where there is none, or none are wanted.

    dataset, held_out: the data of the stage's first objective.
    """
    wanted = stage.settings
    if wanted.preview_every is None or POLICY not in roles.roles or not roles.roles[POLICY].trainable:
        return None
    if held_out is None:
        held_out = _held_out_prompts(stage, context)
    data = held_out or dataset
    positions, most = roles.base.positions, wanted.sampling.max_tokens
    room = None if positions is None else positions - most
    found = PreviewPrompts(data.examples, data.groups, held_out is not None).first(wanted.previews, room)
    if len(found.groups) < wanted.previews:
        context.display.note(
            f"{len(found.groups)} of {wanted.previews} previews: the data has no more different prompts that "
            f"leave room for {most} tokens"
        )
    return Previews(
        make_sampler(context.registry, SAMPLER, roles, "quantized"),
        roles.base,
        found,
        wanted.sampling.sampling(1, context.seed),
        every=wanted.preview_every,
        file=folder.previews,
        display=context.display,
    )


def _held_out_prompts(stage: PlannedTrain, context: RunContext) -> Dataset | None:
    """Read a few held-out prompts for a stage that learns from its own samples, which reads no others."""
    wanted = stage.settings
    if stage.held_out is not None:
        entry, name, where = stage.held_out, HELD_OUT_ENTRY, f"stages.{stage.name}.held_out"
    elif isinstance(wanted.held_out, str):
        name, where = wanted.held_out, f"data.{wanted.held_out}"
        entry = context.data.entry(name)
    else:  # a share of the prompts cannot be left out of what the stage samples for
        return None
    few = wanted.previews if entry.limit is None else min(entry.limit, wanted.previews)
    return context.data.load_entry(
        DataEntry.model_validate({**entry.model_dump(), "limit": few}),
        Prompts,
        wanted.max_length,
        wanted.sampling.max_tokens,
        name=name,
        where=where,
    )
