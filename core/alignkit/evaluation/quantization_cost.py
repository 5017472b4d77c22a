"""Measures what quantization costs: the loss per token of the quantized base, less the unquantized base's."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from alignkit import recipe
from alignkit.data.chosen import Chosen
from alignkit.evaluation.statistics import bootstrap_ratio
from alignkit.example import Group
from alignkit.models.base import Base, bytes_of_weights, load_base
from alignkit.models.computing import compute_signals, forward_budget
from alignkit.models.memory import bytes_free
from alignkit.models.roles import Roles
from alignkit.progress import Progress, ProgressOf, silent
from alignkit.registry import Registry

MUCH = 0.05
"""Nats per token above which the cost is told as a warning."""

MARGIN = 1.25
"""The free memory that is needed, as a multiple of the unquantized weights: a pass needs some too."""


@dataclass(frozen=True)
class QuantizationCost:
    """What quantization costs on some completions, in nats per token.

    loss, unquantized: mean −log π per token of the quantized base and of the unquantized base. cost: their
    difference, with its 95 % interval [low, high] over completions. of: `completions`, or `prompts` where the
    data has no completions. why: why nothing was measured; then all five numbers are None.
    """

    quantization: str
    block_size: int
    dtype: str
    completions: int
    tokens: int
    of: str
    loss: float | None = None
    unquantized: float | None = None
    cost: float | None = None
    low: float | None = None
    high: float | None = None
    why: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `why` only where nothing was measured."""
        return {name: value for name, value in asdict(self).items() if name != "why" or value is not None}

    @property
    def line(self) -> str:
        """Tell the cost in one line; with advice where it is much."""
        name = self.quantization + (f" in blocks of {self.block_size}" if self.block_size != 64 else "")
        if self.cost is None:
            return f"what {name} costs was not measured: {self.why}"
        said = (
            f"{name} costs {self.cost:.2f} nats per token here ({self.unquantized:.2f} → {self.loss:.2f}, "
            f"{self.completions} {self.of}, {self.low:.2f}…{self.high:.2f})"
        )
        return f"warning: {said}; {_advice(self)}" if self.cost > MUCH else said


def measure_cost(
    base: Base, spec: recipe.Model, registry: Registry, chosen: Chosen, progress: ProgressOf = silent
) -> QuantizationCost:
    """Compare the quantized base with the unquantized base, which is loaded for this and freed.

    spec: the settings with which the base was loaded. Random states stay as they were. Where the memory has
    no room for the unquantized base, nothing is measured.
    """
    dtype = str(base.dtype).removeprefix("torch.")
    counts = chosen.tokens
    found = QuantizationCost(
        spec.quantization, spec.block_size, dtype, len(chosen.groups), sum(counts), chosen.of
    )
    need, free = MARGIN * bytes_of_weights(base), bytes_free(base.device)
    if need > free:
        why = f"the unquantized base needs {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        return QuantizationCost(**{**asdict(found), "why": why})
    if not chosen.groups:
        return QuantizationCost(**{**asdict(found), "why": "the data has no token to predict"})
    with torch.random.fork_rng([base.device] if base.device.type == "cuda" else []):
        counted = progress("what quantization costs: the quantized base")
        quantized = bare_losses(base, spec.lora, chosen.groups, counted)
        plain = load_base(
            spec.model_copy(update={"quantization": "none", "block_size": 64}), registry, base.device
        )
        counted = progress("what quantization costs: the unquantized base")
        whole = bare_losses(plain, spec.lora, chosen.groups, counted)
        del plain
        free_memory()
    lost = [ours - theirs for ours, theirs in zip(quantized, whole, strict=True)]
    cost = bootstrap_ratio(lost, counts)
    tokens = sum(counts)
    return QuantizationCost(
        **{
            **asdict(found),
            "loss": sum(quantized) / tokens,
            "unquantized": sum(whole) / tokens,
            "cost": cost.mean,
            "low": cost.low,
            "high": cost.high,
        }
    )


def bare_losses(
    base: Base, lora: recipe.Lora, groups: Sequence[Group], progress: Progress | None = None
) -> list[float]:
    """Return −log π of each completion under a base without any adapter."""
    with Roles(base, lora, seed=0) as roles:
        roles.add("policy", trainable=False)
        logps = compute_signals(roles, groups, ["policy"], forward_budget(), progress=progress)["logps"]
    return (-logps.double().sum(-1)).tolist()


def free_memory() -> None:
    """Give back the memory of models that nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _advice(cost: QuantizationCost) -> str:
    """Say what would cost less."""
    others = {"int8": "none", "fp4": "nf4, int8 or none"}.get(cost.quantization, "int8 or none")
    said = f"`model.quantization: {others}` costs less where memory allows"
    if cost.quantization == "nf4" and cost.block_size == 64:
        said += ", and so does `model.block_size: 32`"
    return said
