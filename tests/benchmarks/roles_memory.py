"""What the roles of PPO weigh: the loaded tensors of one base with its roles, and of four models of their
own. The last line is JSON.

Weights alone, summed over what is loaded: no gradients, no optimizer state, no activations. Here every role
has an adapter, as in a run that starts from a fine-tuned stage; where it starts from the base, the reference
has none.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, BitsAndBytesConfig
from workload import ALPHA, RANK

from alignkit import recipe
from alignkit.models.base import Base, load_base
from alignkit.models.roles import Roles
from alignkit.registry import Registry


def main() -> None:
    """Load, sum, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="auto")
    args = parser.parse_args()
    device = Accelerator().device
    base = load_base(recipe.Model(base=args.model, quantization="nf4", dtype=args.dtype), Registry(), device)
    found = with_roles(base)
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=base.dtype,
        llm_int8_skip_modules=["score", "lm_head"],
    )
    one_base, dtype = found["+ value"], base.dtype
    del base
    for name, options in {
        "four models, NF4, no adapters yet": {"dtype": dtype, "quantization_config": nf4},
        "four models, bfloat16": {"dtype": torch.bfloat16},
        "four models, float32": {"dtype": torch.float32},
    }.items():
        found[name] = four_models(args.model, device, options)
    print(
        json.dumps(
            [
                {"loaded": name, "bytes": count, "÷ one base": round(count / one_base, 2)}
                for name, count in found.items()
            ]
        )
    )


def with_roles(base: Base) -> dict[str, int]:
    """Bytes of the base alone and after each role is added: adapters, two of them with a head, of which
    policy and value are trained.
    """
    found = {"one base, NF4": weight(tensors_of(base.model))}
    with tempfile.TemporaryDirectory() as scratch:
        for name, headed in (("start", False), ("judge", True)):
            with Roles(base, recipe.Lora(r=RANK, alpha=ALPHA), seed=0) as roles:
                role = "reward" if headed else "policy"
                roles.add(role, trainable=True)
                roles.save(role, Path(scratch) / name)
        with Roles(base, recipe.Lora(r=RANK, alpha=ALPHA), seed=0) as roles:
            for name, start, trainable in (
                ("policy", "start", True),
                ("reference", "start", False),
                ("reward", "judge", False),
                ("value", "judge", True),
            ):
                roles.add(name, trainable=trainable, start=Path(scratch) / start)
                heads = [role.head.weight for role in roles.roles.values() if role.head is not None]
                found[f"+ {name}"] = weight([*tensors_of(base.model), *heads])
    return found


def four_models(model: str, device: torch.device, options: dict) -> int:
    """Bytes of a policy, a reference, a reward and a value model: two of either kind."""
    total = 0
    for cls, more in ((AutoModelForCausalLM, {}), (AutoModelForSequenceClassification, {"num_labels": 1})):
        loaded = cls.from_pretrained(model, device_map={"": device}, **options, **more)
        total += 2 * weight(tensors_of(loaded))
        del loaded
    return total


def tensors_of(model: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers, and the scales of quantized weights, which are neither."""
    yield from model.buffers()
    for parameter in model.parameters():
        yield parameter
        state = getattr(parameter, "quant_state", None)
        while state is not None:
            yield from (
                value for value in (state.absmax, state.code, state.offset) if isinstance(value, Tensor)
            )
            state = state.state2


def weight(tensors) -> int:
    """Bytes, tensors that share memory counted once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


if __name__ == "__main__":
    main()
