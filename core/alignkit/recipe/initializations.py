"""Names the ways in which a fresh adapter may begin, and tells what each means for the base.

The names are PEFT's, of `init_lora_weights`. No way changes the base, which all roles share.
"""

from __future__ import annotations

import re

from alignkit.errors import nearest

Initialization = bool | str
"""PEFT's value of `init_lora_weights`."""

PISSA = re.compile(r"pissa(_niter_\d+)?")
OTHERS = ("gaussian", "loftq", "mica", "olora", "orthogonal")
NEEDS = {
    "eva": "the activations of",
    "corda": "the activations of",
    "lora_ga": "the gradients of",
}
"""What else PEFT knows, and what it would compute from a stage's data before the stage begins."""


def known(value: Initialization) -> Initialization:
    """Return the value. Raises ValueError where adapters cannot begin so."""
    if isinstance(value, bool) or value in OTHERS or PISSA.fullmatch(value):
        return value
    names = ["true", "false", *OTHERS, "pissa", "pissa_niter_N (N a whole number)"]
    if value in NEEDS:
        raise ValueError(
            f"{value} needs {NEEDS[value]} the base over data, and roles begin before data is read; "
            f"use one of {', '.join(names)}"
        )
    raise ValueError(f"no such initialization. {nearest(value, names)}")


def moves(value: Initialization) -> bool:
    """Tell whether a fresh adapter changes what the base computes, if only by rounding.

    Where it does, a frozen role that begins where a trained one does needs a copy of the fresh adapter.
    """
    return value is False or value in ("loftq", "orthogonal")


def subtracts(value: Initialization) -> bool:
    """Tell whether what the adapter adds at its start is subtracted again.

    A role then computes W + s·(B·A − B₀·A₀), an adapter of twice the rank whose second half is frozen. PEFT
    subtracts s·B₀·A₀ from the base, which is the same function.
    """
    return isinstance(value, str) and (value == "olora" or PISSA.fullmatch(value) is not None)


def factorizes(value: Initialization) -> bool:
    """Tell whether the adapter begins as a part of a factorized matrix, which bounds its rank."""
    return subtracts(value) or value in ("loftq", "mica")
