"""Decides how a base is quantized where the recipe leaves it to `auto`, and says why.

Whether 4 bits cost much depends on the base: small ones lose most. So a base is quantized only where its
weights would fill the memory, and a small one in 8 bits where they fit. Importing this module imports no
torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models.memory import Machine, machine_of, machine_without_torch
from alignkit.models.weights_size import counted_parameters, known_parameters
from alignkit.recipe.mistakes import validate
from alignkit.registry import Registry

SHARE = 0.4
"""The share of the memory that weights may take: adapters, activations and samples need the rest."""

SMALL = 3_000_000_000
"""Parameters of a base to which 4 bits do much harm."""

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0}
"""Bytes of a weight."""

RULE = (
    f"none where its weights take at most {SHARE:.0%} of the memory; else int8 for fewer than "
    f"{SMALL / 1e9:.0f} billion parameters, where 8 bits fit; else nf4"
)


@dataclass(frozen=True)
class Settled:
    """The recipe's `model` with a quantization by name, and the line that says what was chosen.

    The quantization is still `auto` where the base is not there yet; then it is settled when the run begins.
    """

    model: recipe.Model
    line: str


def settle_in_check(model: recipe.Model, registry: Registry) -> Settled:
    """Settle the quantization as far as that is possible without torch, and without fetching the base."""
    return settle(model, known_parameters(model, registry), machine_without_torch)


def settle_in_run(model: recipe.Model, registry: Registry) -> Settled:
    """Settle the quantization for the device that the run uses.

    Raises UserError where there is no such base, and where the recipe's adapters do not go with the choice.
    """
    if model.quantization != "auto":
        return settle(model, known_parameters(model, registry), machine_without_torch)
    from accelerate import Accelerator

    device = Accelerator().device
    return settle(model, counted_parameters(model, registry), lambda: machine_of(device))


def settle(model: recipe.Model, parameters: int | None, machine: Callable[[], Machine]) -> Settled:
    """Return the settled settings. parameters: None means that their number is not known yet.

    machine: asked only where the choice depends on it.
    """
    begin = f"model {model.base}: "
    if parameters is not None:
        begin += f"{_count(parameters)} parameters, "
    if model.quantization != "auto":
        return Settled(model, begin + _how(model))
    if parameters is None:
        return Settled(model, f"{begin}the quantization is chosen when the base is there: {RULE} (auto)")
    here = machine()
    dtype = here.dtype if model.dtype == "auto" else model.dtype
    found = _with(model, choose(parameters, here.memory, dtype, int8=not model.lora.use_dora))
    taken = _gigabytes(parameters * _bytes_of(found, dtype))
    said = f"{_how(found)}: {taken} of {_gigabytes(here.memory)}"
    whole = _gigabytes(parameters * BYTES[dtype])
    said += f" in {dtype}" if found.quantization == "none" else f", {whole} in {dtype}"
    return Settled(found, f"{begin}{said} (auto)")


def choose(parameters: int, memory: int, dtype: str, *, int8: bool = True) -> str:
    """Return the quantization of a base of this size, see `RULE`. int8: whether 8 bits may be chosen."""
    room = SHARE * memory
    if parameters * BYTES[dtype] <= room:
        return "none"
    if int8 and parameters < SMALL and parameters * BYTES["int8"] <= room:
        return "int8"
    return "nf4"


def _with(model: recipe.Model, chosen: str) -> recipe.Model:
    """Return the settings with the quantization that was chosen. Blocks are for 4 bits only."""
    blocks = model.block_size if chosen == "nf4" else 64
    values = {**model.model_dump(), "quantization": chosen, "block_size": blocks}
    try:
        return validate(recipe.Model, values, "model")
    except UserError as error:
        raise UserError(
            f"auto chose {chosen}, which does not go with the adapter: {error.message}",
            where="model.quantization",
            hint="Name a quantization, or change the adapter.",
        ) from error


def _how(model: recipe.Model) -> str:
    if model.quantization == "none":
        return "not quantized"
    return model.quantization + ("" if model.quantization == "int8" else f" in blocks of {model.block_size}")


def _bytes_of(model: recipe.Model, dtype: str) -> float:
    """Return the bytes of a weight; in 4 bits with its share of its block's scale, which takes 8 bits."""
    if model.quantization in ("none", "int8"):
        return BYTES[dtype if model.quantization == "none" else "int8"]
    return 0.5 + 1 / model.block_size


def _count(parameters: int) -> str:
    if parameters >= 10**9:
        return f"{parameters / 1e9:.3g} billion"
    return f"{parameters / 1e6:.0f} million" if parameters >= 10**6 else f"{parameters:,}"


def _gigabytes(count: float) -> str:
    """Write bytes in GB, of 10⁹ bytes, with two digits or more."""
    value = count / 1e9
    return f"{value:.0f} GB" if value >= 10 else f"{value:.2g} GB"
