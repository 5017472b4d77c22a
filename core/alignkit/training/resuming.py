"""Saves the state of training to a checkpoint, and restores it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from alignkit.objective import Objective
from alignkit.run.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint
from alignkit.training.optimization import load_optimizer_state, optimizer_state

WEIGHTS, OPTIMIZER = "weights/", "optimizer/"


@dataclass(frozen=True)
class Resumed:
    """Where training goes on.

    step: the optimizer steps that are done. held_out: the last held-out metrics. updates: the steps that had
    a gradient.
    """

    step: int = 0
    held_out: dict[str, float] = field(default_factory=dict)
    updates: int = 0


def save_training(
    folder: Path,
    step: int,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    objectives: Sequence[Objective],
    held_out: Mapping[str, float],
    keep: int,
    *,
    updates: int,
) -> int:
    """Write a checkpoint after `step`, and drop all but the newest `keep`.

    Return the step of the oldest that is kept.
    """
    moments, numbers = optimizer_state(optimizer)
    tensors = {
        f"{WEIGHTS}{name}": parameter.detach().cpu().contiguous() for name, parameter in parameters.items()
    }
    tensors |= {f"{OPTIMIZER}{name}": tensor for name, tensor in moments.items()}
    state = {
        "optimizer": numbers,
        "held_out": dict(held_out),
        "objectives": [dict(objective.state) for objective in objectives],
        "updates": updates,
    }
    return save_checkpoint(folder, Checkpoint(step, tensors, state), keep)


def resume_training(
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    objectives: Sequence[Objective],
    note: Callable[[str], None],
) -> Resumed:
    """Restore the newest whole checkpoint, if there is one."""
    checkpoint = latest_checkpoint(folder, note)
    if checkpoint is None:
        return Resumed()
    for name, parameter in parameters.items():
        parameter.data.copy_(checkpoint.tensors[f"{WEIGHTS}{name}"])
    moments = {
        name.removeprefix(OPTIMIZER): tensor
        for name, tensor in checkpoint.tensors.items()
        if name.startswith(OPTIMIZER)
    }
    load_optimizer_state(optimizer, moments, checkpoint.state["optimizer"])
    for objective, state in zip(objectives, checkpoint.state["objectives"], strict=True):
        objective.state.replace(state)
    return Resumed(checkpoint.step, checkpoint.state["held_out"], checkpoint.state.get("updates", 0))
