"""Checks which layers LoRA adapts, and computes adapted layers in fewer passes than PEFT does.

PEFT holds the adapters, and computes them wherever this module does not apply. For y = W·x + s·B·A·x it
copies W·x, multiplies B·A·x by s and adds the two; its backward pass does the same. On a CPU these passes
were a seventh of a training step. Here the product with B is added to W·x while it is computed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from alignkit import recipe
from alignkit.errors import UserError, nearest
from alignkit.models.partly_frozen import PartlyFrozen

ALL_LINEAR = "all-linear"
"""The target that stands for all linear layers but the output head, for PEFT as in recipes."""

ADAPTABLE = (nn.Linear, Conv1D)
"""The classes of linear layers; quantized layers are subclasses of the first."""


def target_modules(target: str | list[str]) -> str | list[str]:
    """Return the recipe's `target` in the form that PEFT expects: all-linear, or a list of names.

    A single name becomes a list, because PEFT would read a string as a regular expression.
    """
    return target if target == ALL_LINEAR or isinstance(target, list) else [target]


def check_target(model: PreTrainedModel, target: str | list[str]) -> None:
    """Raise UserError where a name in `target` is the output head, or the name of no linear layer.

    Each name is checked by itself, because PEFT ignores a name without a layer where another name has one.
    """
    if target == ALL_LINEAR:
        return
    where, hint = "model.lora.target", f"Give {ALL_LINEAR}, or names of linear layers."
    head = model.get_output_embeddings()
    layers = {name: module for name, module in model.named_modules() if isinstance(module, ADAPTABLE)}
    known = {name.rpartition(".")[-1] for name, module in layers.items() if module is not head}
    names = target_modules(target)
    if not names:
        raise UserError(
            "found an empty list, expected at least one layer",
            where=where,
            hint=f"{hint} {nearest('', known)}",
        )
    for name in names:
        matches = [module for path, module in layers.items() if f".{path}".endswith(f".{name}")]
        if not matches:
            raise UserError(
                f"no linear layer of the base is called {name!r}",
                where=where,
                hint=f"{hint} {nearest(name, known)}",
            )
        if any(module is head for module in matches):
            raise UserError(
                f"{name!r} is the output head, which is not adapted",
                where=where,
                hint=f"{hint} {nearest(name, known)}",
            )


def check_adapter(model: PreTrainedModel, lora: recipe.Lora) -> None:
    """Raise UserError where `target`, or a name in a pattern of ranks or alphas, fits no layer."""
    check_target(model, lora.target)
    paths = _adapted_paths(model, lora.target)
    for key in ("rank_pattern", "alpha_pattern"):
        for pattern in getattr(lora, key):
            if any(re.match(rf"(.*\.)?({pattern})$", path) for path in paths):  # as PEFT matches
                continue
            parts = pattern.count(".") + 1
            ends = {".".join(path.split(".")[-parts:]) for path in paths}
            (close,) = get_close_matches(pattern, sorted(ends), n=1, cutoff=0.0)
            raise UserError(
                f"no adapted layer is called {pattern!r}",
                where=f"model.lora.{key}",
                hint=f"Did you mean {close!r}? Give the end of a layer's path, or a regular expression.",
            )


def _adapted_paths(model: PreTrainedModel, target: str | list[str]) -> list[str]:
    """Return the paths of the layers that are adapted, with those of parameters of experts."""
    head = model.get_output_embeddings()
    layers = [
        path for path, module in model.named_modules() if isinstance(module, ADAPTABLE) and module is not head
    ]
    if target != ALL_LINEAR:
        return [
            path for path in layers if any(f".{path}".endswith(f".{name}") for name in target_modules(target))
        ]
    experts = [path for path, parameter in model.named_parameters() if parameter.dim() == 3]
    return [*layers, *experts, *(path.rpartition(".")[0] for path in experts)]


@contextmanager
def peft_quiet() -> Iterator[None]:
    """Keep PEFT from warning where nothing is wrong.

    It warns that layers such as GPT-2's store weights as (D_in, D_out), and of patterns that fit no layer:
    those of a recipe were checked, and PEFT adds some of its own for experts.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        warnings.filterwarnings("ignore", message="The following (rank|alpha)_pattern keys did not match")
        yield


def adapted_weight(layer: Any, adapter: str, weight: Tensor) -> Tensor:
    """Return a layer's weight with the adapter merged in, in fp32.

    weight: the base's own, dequantized. It is W + s·B·A; under DoRA each row has the trained length instead.
    """
    merged = weight.float() + layer.get_delta_weight(adapter).float()
    if adapter not in layer.lora_magnitude_vector:
        return merged
    dim = 0 if getattr(layer, "fan_in_fan_out", False) else 1
    lengths = layer.lora_magnitude_vector[adapter].weight.float()
    return merged * (lengths / merged.norm(dim=dim)).unsqueeze(dim)


class _AddLora(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, base: Tensor, x: Tensor, down: Tensor, up: Tensor, scaling: float) -> Tensor:  # type: ignore[override]
        """Return base + scaling·up·down·x, in the place of base.

        base (…, D_out), x (…, D_in), down (r, D_in), up (D_out, r).
        """
        flat = x.reshape(-1, x.shape[-1])
        down_, up_ = down.to(x.dtype), up.to(x.dtype)
        inner = flat @ down_.T  # (…, r)
        base.view(-1, base.shape[-1]).addmm_(inner, up_.T, alpha=scaling)
        ctx.mark_dirty(base)
        ctx.save_for_backward(flat, inner, down, up)
        ctx.scaling, ctx.shape = scaling, x.shape
        return base

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        flat, inner, down, up = ctx.saved_tensors
        out = grad.reshape(-1, grad.shape[-1])
        inner_grad = (out @ up.to(out.dtype)).mul_(ctx.scaling)  # (…, r)
        x_grad = (inner_grad @ down.to(out.dtype)).view(ctx.shape) if ctx.needs_input_grad[1] else None
        down_grad = (inner_grad.T @ flat).to(down.dtype) if ctx.needs_input_grad[2] else None
        up_grad = (out.T @ inner).mul_(ctx.scaling).to(up.dtype) if ctx.needs_input_grad[3] else None
        return grad, x_grad, down_grad, up_grad, None


def _forward(layer: Any, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
    """Return a LoRA layer's output under its one active adapter, or its base's output without one."""
    if layer.disable_adapters or layer.merged:
        return type(layer).forward(layer, x, *arguments, **options)
    (adapter,) = layer.active_adapters
    if adapter not in layer.lora_A or not _is_plain(layer, adapter):
        return type(layer).forward(layer, x, *arguments, **options)
    base = layer.base_layer(x, *arguments, **options)
    return _AddLora.apply(
        base,
        x.to(base.dtype),
        layer.lora_A[adapter].weight,
        layer.lora_B[adapter].weight,
        layer.scaling[adapter],
    )


def _is_plain(layer: Any, adapter: str) -> bool:
    """Return whether the adapter is B·A alone, without dropout, bias or a variant of LoRA."""
    dropout, up = layer.lora_dropout[adapter], layer.lora_B[adapter]
    without_dropout = isinstance(dropout, nn.Identity) or not dropout.training
    return (
        without_dropout
        and adapter not in layer.lora_variant
        and isinstance(up, nn.Linear | PartlyFrozen)
        and up.bias is None
    )


def speed_up(model: nn.Module) -> None:
    """Let the model's linear LoRA layers compute as described above.

    Other LoRA layers, such as those of the parameters of experts, go on computing as PEFT does.
    """
    for module in model.modules():
        if (
            isinstance(module, LoraLayer)
            and not isinstance(module, ParamWrapper)
            and isinstance(module.get_base_layer(), nn.Linear)
        ):
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]
