"""Makes a stage's optimizer, gives the learning rate of every step, and keeps the optimizer's state."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from alignkit.errors import UserError, raised_at
from alignkit.models.adapters import HEAD_KEY
from alignkit.optimizer import Optimizer, Part, TrainedParameter
from alignkit.recipe import Training
from alignkit.training.metrics import LEARNING_RATE

WHERE = "training.optimizer"
NUMBERS = int | float
GROUP = "group"


def make_optimizer(
    optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], settings: Training
) -> StageOptimizer:
    """Let the plugin make the optimizer of the parameters, which are named `role/name`.

    Raises UserError where the plugin fails, leaves a parameter out or takes it twice, or applies another
    weight decay than the recipe's.
    """
    trained = [_described(key, parameter, settings) for key, parameter in parameters.items()]
    try:
        made = optimizer.make(trained)
    except UserError as error:
        raise UserError(error.message, where=error.where or WHERE, hint=error.hint) from error
    except Exception as error:
        raise UserError(
            f"the optimizer {optimizer.name!r} failed: {type(error).__name__}: {error}",
            where=raised_at(error, type(optimizer)),
        ) from error
    parts = [made] if isinstance(made, torch.optim.Optimizer) else list(made)
    _require_whole(optimizer.name, parts, trained)
    return StageOptimizer(parts)


class StageOptimizer:
    """The optimizer of a stage: one of torch's, or several that each take some of the parameters."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = parts
        self.groups = [group for part in parts for group in part.param_groups]
        self.rates = [float(group["lr"]) for group in self.groups]
        self._switch("train")

    def step(self, settings: Training, number: int, steps: int) -> None:
        """Update the parameters in step `number` (from 0) of `steps`, each group at its rate of the step."""
        for group, rate in zip(self.groups, self.rates, strict=True):
            group["lr"] = learning_rate(settings, rate, number, steps)
        for part in self.parts:
            part.step()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Set the weights that are to be measured, where an optimizer keeps others than it trains."""
        self._switch("eval")
        yield
        self._switch("train")

    def finish(self) -> None:
        """Set the weights that are to be saved, when training is over."""
        self._switch("eval")

    def _switch(self, mode: str) -> None:
        for part in self.parts:
            if hasattr(part, "train") and hasattr(part, "eval"):
                getattr(part, mode)()


def learning_rate(settings: Training, highest: float, step: int, steps: int) -> float:
    """Return the rate of optimizer step `step` (from 0) of `steps`, where `highest` is the highest one.

    It rises linearly during the warm-up. Then it stays, or falls to 0 linearly or as half a cosine.
    """
    warmup = round(settings.warmup * steps) if settings.warmup < 1 else min(int(settings.warmup), steps)
    if step < warmup:
        return highest * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    factor = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}[
        settings.schedule
    ]
    return highest * factor


def learning_rates(settings: Training, step: int, steps: int) -> dict[str, float]:
    """Return the learning rate of a step as a metric: one of all roles, or one of each as the recipe says."""
    if isinstance(settings.learning_rate, dict):
        return {
            f"{LEARNING_RATE}/{role}": learning_rate(settings, highest, step, steps)
            for role, highest in settings.learning_rate.items()
        }
    return {LEARNING_RATE: learning_rate(settings, settings.learning_rate, step, steps)}


def optimizer_state(optimizer: StageOptimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the optimizer's state as tensors and numbers, so that nothing needs pickle.

    Both are flat, by `part/index/key`; bitsandbytes nests another level, `part/index/key/key`. Numbers that
    an optimizer keeps in its groups are there by `part/group/index/key`. Raises UserError for anything else.
    """
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}

    def flatten(prefix: str, state: Mapping[Any, Any]) -> None:
        for key, value in state.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict):
                flatten(f"{name}/", value)
            elif isinstance(value, Tensor):
                tensors[name] = value.detach().cpu().contiguous().clone()
            elif isinstance(value, NUMBERS) or value is None:
                numbers[name] = value
            else:
                raise UserError(
                    f"the optimizer keeps {key!r} in its state, a {type(value).__name__}; tensors and "
                    "numbers are expected, because checkpoints carry nothing else",
                    where=WHERE,
                )

    for number, part in enumerate(optimizer.parts):
        flatten(f"{number}/", part.state_dict()["state"])
        for index, group in enumerate(part.param_groups):
            kept = {key: value for key, value in group.items() if isinstance(value, NUMBERS) and key != "lr"}
            flatten(f"{number}/{GROUP}/{index}/", kept)
    return tensors, numbers


def load_optimizer_state(
    optimizer: StageOptimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    """Restore what `optimizer_state` returned."""
    states: list[dict[int, Any]] = [{} for _ in optimizer.parts]
    for name, value in {**tensors, **numbers}.items():
        number, index, *parents, key = name.split("/")
        if index == GROUP:
            optimizer.parts[int(number)].param_groups[int(parents[0])][key] = value
            continue
        place = states[int(number)].setdefault(int(index), {})
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = value
    for part, state in zip(optimizer.parts, states, strict=True):
        part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
    optimizer.groups = [group for part in optimizer.parts for group in part.param_groups]


def _described(key: str, parameter: nn.Parameter, settings: Training) -> TrainedParameter:
    role, _, name = key.partition("/")
    (rate,) = settings.rates([role]).values()
    return TrainedParameter(role, name, _part(name), parameter, rate, settings.weight_decay)


def _part(name: str) -> Part:
    """Tell what a parameter is, by its name in the saved adapter."""
    if name == HEAD_KEY:
        return "head"
    pieces = name.split(".")
    if "lora_A" in pieces:
        return "A"
    return "B" if "lora_B" in pieces else "other"


def _require_whole(
    name: str, parts: Sequence[torch.optim.Optimizer], trained: Sequence[TrainedParameter]
) -> None:
    """Refuse an optimizer that does not train every parameter once, with the recipe's weight decay."""
    groups = [group for part in parts for group in part.param_groups]
    taken = Counter(id(parameter) for group in groups for parameter in group["params"])
    wrong = [one for one in trained if taken[id(one.parameter)] != 1]
    if wrong:
        times = taken[id(wrong[0].parameter)]
        raise UserError(
            f"the optimizer {name!r} takes the parameter {wrong[0].role}/{wrong[0].name} {times} times; each "
            "belongs to one group",
            where=WHERE,
        )
    decays = {group.get("weight_decay", 0.0) for group in groups}
    expected = {one.weight_decay for one in trained}
    if decays != expected:
        raise UserError(
            f"the optimizer {name!r} applies the weight decay {', '.join(map(str, sorted(decays)))}, and the "
            f"recipe's weight_decay is {', '.join(map(str, sorted(expected)))}",
            where=WHERE,
            hint="`alignkit.parameter_groups` makes groups with each parameter's rate and weight decay.",
        )
