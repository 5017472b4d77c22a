"""Makes the optimizer, and gives the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alignkit.errors import UserError
from alignkit.recipe import Training


def make_optimizer(parameters: Sequence[nn.Parameter], settings: Training) -> torch.optim.Optimizer:
    """Make AdamW as the recipe says: torch's, or bitsandbytes' with 8-bit state, paged or not.

    Raises UserError for paged state without a CUDA device.
    """
    options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, fused=True, **options)
    from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit

    if settings.optimizer == "paged-adamw-8bit":
        if parameters[0].device.type != "cuda":
            raise UserError(
                "paged optimizer state needs a CUDA device",
                where="training.optimizer",
                hint="Use adamw-8bit or adamw.",
            )
        return PagedAdamW8bit(parameters, **options)
    return AdamW8bit(parameters, **options)


def learning_rate(settings: Training, step: int, steps: int) -> float:
    """Return the rate of optimizer step `step` (from 0) of `steps`.

    It rises linearly during the warm-up. Then it stays, or falls to 0 linearly or as half a cosine.
    """
    warmup = round(settings.warmup * steps) if settings.warmup < 1 else min(int(settings.warmup), steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    factor = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}[
        settings.schedule
    ]
    return settings.learning_rate * factor


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the optimizer's state as tensors and numbers, so that nothing needs pickle.

    Both are flat, by `index/key`; bitsandbytes nests another level, `index/key/key`.
    """
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}

    def flatten(prefix: str, state: dict[Any, Any]) -> None:
        for key, value in state.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict):
                flatten(f"{name}/", value)
            elif isinstance(value, Tensor):
                tensors[name] = value.detach().cpu().contiguous().clone()
            else:
                numbers[name] = value

    flatten("", optimizer.state_dict()["state"])
    return tensors, numbers


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    """Restore what `optimizer_state` returned."""
    state: dict[int, Any] = {}
    for name, value in {**tensors, **numbers}.items():
        index, *parents, key = name.split("/")
        place = state.setdefault(int(index), {})
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
