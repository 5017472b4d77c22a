"""Saves the state of training to a checkpoint, and restores it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from alignkit.objective import Objective
from alignkit.run.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint
from alignkit.training.observing import Observing
from alignkit.training.optimization import StageOptimizer, load_optimizer_state, optimizer_state

WEIGHTS, OPTIMIZER = "weights/", "optimizer/"


@dataclass(frozen=True)
class TrainingState:
    """All that training changes, and a checkpoint therefore carries.

    parameters: the trained ones, and those of roles that follow others.
    """

    parameters: Mapping[str, nn.Parameter]
    optimizer: StageOptimizer
    objectives: Sequence[Objective]
    observing: Observing


@dataclass(frozen=True)
class Reached:
    """How far training came.

    step: the steps that are done. held_out: the last metrics on held-out data. updates: the steps that had a
    gradient. unobserved: the metrics of the last step, where an observer failed before it had seen them.
    """

    step: int = 0
    held_out: dict[str, float] = field(default_factory=dict)
    updates: int = 0
    unobserved: dict[str, float] | None = None


def save_training(folder: Path, state: TrainingState, reached: Reached, keep: int) -> int:
    """Write a checkpoint and drop all but the newest `keep`; return the step of the oldest that is kept."""
    moments, numbers = optimizer_state(state.optimizer)
    tensors = {
        f"{WEIGHTS}{name}": parameter.detach().cpu().contiguous()
        for name, parameter in state.parameters.items()
    }
    tensors |= {f"{OPTIMIZER}{name}": tensor for name, tensor in moments.items()}
    values = {
        "optimizer": numbers,
        "held_out": reached.held_out,
        "updates": reached.updates,
        "objectives": [dict(objective.state) for objective in state.objectives],
        "observers": state.observing.to_dict(),
        "unobserved": reached.unobserved,
    }
    return save_checkpoint(folder, Checkpoint(reached.step, tensors, values), keep)


def resume_training(folder: Path, state: TrainingState, note: Callable[[str], None]) -> Reached:
    """Restore the newest whole checkpoint, and say where training goes on; at step 0 where there is none."""
    checkpoint = latest_checkpoint(folder, note)
    if checkpoint is None:
        return Reached()
    for name, parameter in state.parameters.items():
        parameter.data.copy_(checkpoint.tensors[f"{WEIGHTS}{name}"])
    moments = {
        name.removeprefix(OPTIMIZER): tensor
        for name, tensor in checkpoint.tensors.items()
        if name.startswith(OPTIMIZER)
    }
    values = checkpoint.state
    load_optimizer_state(state.optimizer, moments, values["optimizer"])
    for objective, remembered in zip(state.objectives, values["objectives"], strict=True):
        objective.state.replace(remembered)
    state.observing.load(values["observers"])
    return Reached(checkpoint.step, values["held_out"], values["updates"], values["unobserved"])
