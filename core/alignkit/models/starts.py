"""Gives fresh adapters their first weights. The base is never changed: all roles share it.

PEFT computes the first weights, of a copy of each layer. Some of its initializations also change the base:

- PiSSA (arXiv:2404.02948) and OLoRA (arXiv:2406.01775) begin with a large part of the weight, s·B₀·A₀, and
  subtract it from the base. Here the subtraction is the frozen half of an adapter of twice the rank,
  [B, −B₀]·[A; A₀]: the same function, and a file that plain PEFT loads over the unchanged base.
- LoftQ (arXiv:2310.08659) chooses the quantized weights Q anew in several rounds. Here Q stays as it was
  loaded, which is LoftQ's first round: s·B₀·A₀ is the best approximation of W − Q that has the adapter's
  rank. PEFT omits s, so that it approximates W − Q only where alpha is r.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import Linear, LoraLayer, ParamWrapper
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models.base import Base
from alignkit.models.dequantized import dequantized
from alignkit.models.partly_frozen import PartlyFrozen
from alignkit.models.pretrained import load_pretrained
from alignkit.recipe.initializations import Initialization, factorizes, moves, subtracts

FILE, KEY = "start.json", "init_lora_weights"
"""The file, beside an adapter's weights, that says how the adapter began; and its key, a recipe's too."""


@dataclass(frozen=True)
class Start:
    """The first weights of a layer's adapter, in fp32 on the CPU: down (r, D_in), and up (D_out, r)."""

    down: Tensor
    up: Tensor


@dataclass
class Starts:
    """How the adapters over one base began.

    of: the initialization of each adapter, by the adapter's name. moved: whether a fresh adapter was made
    that changes what the base computes.
    """

    base: Base
    lora: recipe.Lora
    seed: int
    of: dict[str, Initialization] = field(default_factory=dict)
    moved: bool = False
    _weights: dict[str, Start] = field(default_factory=dict)

    def begin(self, adapter: str) -> None:
        """Give a fresh adapter, which PEFT has made, its first weights: the same to every fresh adapter.

        Raises UserError where a layer cannot begin as the recipe says.
        """
        kind = self.lora.init_lora_weights
        self.of[adapter] = kind
        self.moved |= moves(kind)
        if kind is True:  # as PEFT made it
            return
        if not self._weights:
            self._weights = self._computed(adapter, kind)
        for path, layer in adapted(self.base.model, adapter):
            _fill(layer, adapter, self._weights[path], kind)
            _freeze(layer, adapter, kind)
            if adapter in layer.lora_variant:  # DoRA: lengths of the rows of the weights as they are now
                layer.lora_variant[adapter].init(layer, adapter_name=adapter)

    def resume(self, adapter: str, folder: Path) -> None:
        """Freeze in a copy of the adapter in `folder` what was frozen there. Its weights are not set here."""
        kind = self.of[adapter] = kind_of(folder)
        for _, layer in adapted(self.base.model, adapter):
            _freeze(layer, adapter, kind)

    def write(self, adapter: str, folder: Path) -> None:
        """Write how an adapter began beside its weights, where it did not begin as PEFT begins by itself.

        PEFT's own file does not say so: plain PEFT would begin so again when it loads the adapter.
        """
        if self.of[adapter] is not True:
            (folder / FILE).write_text(json.dumps({KEY: self.of[adapter]}) + "\n")

    def _computed(self, adapter: str, kind: Initialization) -> dict[str, Start]:
        """Return the first weights of every adapted layer, by the layer's path in the base."""
        torch.manual_seed(self.seed)
        original = _original(self.base) if kind == "loftq" else None
        return {
            path: _start(layer, adapter, kind, path, original)
            for path, layer in adapted(self.base.model, adapter)
        }


def adapted(model: nn.Module, adapter: str) -> Iterator[tuple[str, Any]]:
    """Give the layers that an adapter adapts, each with its path in the base."""
    for path, layer in model.named_modules():
        if isinstance(layer, LoraLayer) and adapter in layer.lora_A:
            yield path, layer


def kind_of(folder: Path) -> Initialization:
    """Return how the adapter in `folder` began."""
    file = folder / FILE
    return json.loads(file.read_text())[KEY] if file.is_file() else True


@torch.no_grad()
def _start(layer: Any, adapter: str, kind: Initialization, path: str, original: nn.Module | None) -> Start:
    """Return a layer's first weights. original: the base before quantization, for LoftQ."""
    if isinstance(layer, ParamWrapper):
        raise UserError(
            f"the adapters of experts, such as {path}, cannot begin with {kind}",
            where=f"model.lora.{KEY}",
            hint="Use true, or name other layers in `target`.",
        )
    rank, scaling = layer.r[adapter], layer.scaling[adapter]
    if subtracts(kind):
        rank //= 2
    weight = _laid_out(dequantized(layer.get_base_layer()), layer)
    if factorizes(kind) and rank > min(weight.shape):
        raise UserError(
            f"the weight of {path} is {weight.shape[0]} × {weight.shape[1]}, so {kind} has no part of rank "
            f"{rank} of it",
            where="model.lora.r",
            hint=f"Lower r to {min(weight.shape)}, or give this layer another rank in `rank_pattern`.",
        )
    if original is not None:
        whole = original.get_parameter(f"{path}.weight").to(weight.device)
        return _low_rank(_laid_out(whole, layer) - weight, rank, scaling)
    stand_in = nn.Linear(*reversed(weight.shape), bias=False, device="meta")
    stand_in.weight = nn.Parameter(weight.clone(), requires_grad=False)
    # PEFT's own computation, on a plain layer of the same weight; s is alpha ÷ r
    made = Linear(stand_in, "start", LoraConfig(init_lora_weights=kind), r=rank, lora_alpha=scaling * rank)  # type: ignore[arg-type]
    down, up = (cast(Tensor, side["start"].weight) for side in (made.lora_A, made.lora_B))
    return Start(down.float().cpu(), up.float().cpu())


def _low_rank(matrix: Tensor, rank: int, scaling: float) -> Start:
    """Return A and B of which s·B·A is the best approximation of a matrix that has this rank."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    roots = (values[:rank] / scaling).sqrt()
    return Start((roots[:, None] * right[:rank]).cpu(), (left[:, :rank] * roots).cpu())


def _fill(layer: Any, adapter: str, start: Start, kind: Initialization) -> None:
    """Set the weights that the layer's adapter begins with."""
    down, up = start.down, start.up
    if subtracts(kind):
        down, up = torch.cat([down, down]), torch.cat([up, -up], dim=1)
    layer.lora_A[adapter].weight.data.copy_(down)
    layer.lora_B[adapter].weight.data.copy_(up)


def _freeze(layer: Any, adapter: str, kind: Initialization) -> None:
    """Freeze what is not trained: the second half that is subtracted, or B of MiCA."""
    down, up = layer.lora_A[adapter].weight.data, layer.lora_B[adapter].weight.data
    if subtracts(kind):
        layer.lora_A[adapter] = PartlyFrozen(*down.chunk(2), dim=0)
        layer.lora_B[adapter] = PartlyFrozen(*up.chunk(2, dim=1), dim=1)
    elif kind == "mica":
        layer.lora_B[adapter] = PartlyFrozen(None, up, dim=1)


def _laid_out(weight: Tensor, layer: Any) -> Tensor:
    """Return a layer's weight as (D_out, D_in), in fp32."""
    return (weight.T if getattr(layer, "fan_in_fan_out", False) else weight).float()


def _original(base: Base) -> PreTrainedModel:
    """Load the base before quantization, on the CPU, in the dtype in which it was quantized."""
    place, revision = str(base.model.name_or_path), getattr(base.model.config, "_commit_hash", None)
    return load_pretrained(AutoModelForCausalLM, place, revision, dtype=base.dtype)
