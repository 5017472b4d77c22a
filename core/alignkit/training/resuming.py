"""Saves the state of training to a checkpoint, and restores it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from alignkit.objective import Objective
from alignkit.run.checkpoint import Checkpoint, latest_checkpoint, require_numbers, save_checkpoint
from alignkit.training.optimization import load_optimizer_state, optimizer_state

WEIGHTS, OPTIMIZER = "weights/", "optimizer/"


def save_training(
    folder: Path,
    step: int,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    objectives: Sequence[Objective],
    held_out: Mapping[str, float],
    keep: int,
) -> int:
    """Write a checkpoint after `step` and drop all but the newest `keep`; return the step of the oldest kept.

    Raises UserError where an objective's state holds anything but numbers.
    """
    for objective in objectives:
        require_numbers(objective.state, f"objective {objective.name!r}")
    moments, numbers = optimizer_state(optimizer)
    tensors = {
        f"{WEIGHTS}{name}": parameter.detach().cpu().contiguous() for name, parameter in parameters.items()
    }
    tensors |= {f"{OPTIMIZER}{name}": tensor for name, tensor in moments.items()}
    states = [objective.state for objective in objectives]
    state = {"optimizer": numbers, "held_out": dict(held_out), "objectives": states}
    return save_checkpoint(folder, Checkpoint(step, tensors, state), keep)


def resume_training(
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    objectives: Sequence[Objective],
    note: Callable[[str], None],
) -> tuple[int, dict[str, float]]:
    """Restore the newest whole checkpoint.

    Return its step and the last held-out metrics; (0, {}) where there is no checkpoint.
    """
    checkpoint = latest_checkpoint(folder, note)
    if checkpoint is None:
        return 0, {}
    for name, parameter in parameters.items():
        parameter.data.copy_(checkpoint.tensors[f"{WEIGHTS}{name}"])
    moments = {
        name.removeprefix(OPTIMIZER): tensor
        for name, tensor in checkpoint.tensors.items()
        if name.startswith(OPTIMIZER)
    }
    load_optimizer_state(optimizer, moments, checkpoint.state["optimizer"])
    for objective, state in zip(objectives, checkpoint.state["objectives"], strict=True):
        objective.state.update(state)
    return checkpoint.step, checkpoint.state["held_out"]
