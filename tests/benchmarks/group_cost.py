"""What a group costs as it grows: tokens and seconds of one forward and backward pass, rows as prefix trees
and laid flat.

A prompt of P = 400 tokens with m completions of R = 64; every completion repeats the prompt in a flat row.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from accelerate import Accelerator
from workload import ALPHA, RANK, seconds_now

from alignkit import recipe
from alignkit.data.rows import flat_rows, tree_rows
from alignkit.example import Group
from alignkit.models.base import load_base
from alignkit.models.computing import role_signals
from alignkit.models.roles import Roles
from alignkit.registry import Registry

PROMPT, COMPLETION = 400, 64
COMPLETIONS = (1, 2, 4, 8, 16)


def main() -> None:
    """Time every size in both layouts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--repeats", type=int, default=3, help="timed passes of each; one more comes before")
    parser.add_argument("--dtype", default="auto")
    args = parser.parse_args()
    base = load_base(
        recipe.Model(base=args.model, quantization="nf4", dtype=args.dtype), Registry(), Accelerator().device
    )
    roles = Roles(base, recipe.Lora(r=RANK, alpha=ALPHA), seed=0)
    roles.add("policy", trainable=True)
    print(json.dumps([line(roles, m, args.repeats) for m in COMPLETIONS]))


def line(roles: Roles, m: int, repeats: int) -> dict[str, float]:
    """One line of the table."""
    tokens = random.Random(0)
    vocabulary = roles.base.model.config.get_text_config().vocab_size
    prompt, *completions = (
        [tokens.randrange(vocabulary) for _ in range(length)] for length in [PROMPT, *[COMPLETION] * m]
    )
    group = Group(prompt, tuple(completions))
    found: dict[str, float] = {"m": m, "P + m·R": PROMPT + m * COMPLETION}
    for name, layout in (("tree", tree_rows), ("flat", flat_rows)):
        roles.rows = layout
        found[f"{name} tokens"] = layout([group]).input_ids.numel()
        seconds = [one_pass(roles, group) for _ in range(1 + repeats)][1:]
        found[f"{name} s"] = round(statistics.median(seconds), 4)
    return {**found, "flat s ÷ tree s": round(found["flat s"] / found["tree s"], 2)}


def one_pass(roles: Roles, group: Group) -> float:
    """Seconds of the log-probabilities and their gradient."""
    began = seconds_now()
    rows = roles.rows([group]).to(roles.base.device)
    role_signals(roles, "policy", rows)["logps"].sum().backward()
    seconds = seconds_now() - began
    for parameter in roles.trainable().values():
        parameter.grad = None
    return seconds


if __name__ == "__main__":
    main()
