"""Pairs and demonstrations where no data is at hand: the model's own answers, ranked by `sentiment`, drawn
once and kept.

    python tests/benchmarks/fallback.py FOLDER [--model MODEL]

Every prompt of recipes/everyday.jsonl is answered twice, from a fixed seed; the more positive answer is
chosen, and is the demonstration.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PROMPTS = Path(__file__).resolve().parents[2] / "recipes" / "everyday.jsonl"
PAIRS, DEMONSTRATIONS = "pairs.jsonl", "demonstrations.jsonl"
MAX_TOKENS = 96


def main() -> None:
    """Write both files into the folder; the last one to appear says that the other is whole."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        pairs = [pair for pair in map(as_pair, ranked(args.model, Path(scratch))) if pair]
    demonstrations = [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in pairs]
    for name, rows in ((PAIRS, pairs), (DEMONSTRATIONS, demonstrations)):
        beside = args.folder / f"{name}.writing"
        beside.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
        )
        beside.replace(args.folder / name)
    print(f"{len(pairs)} pairs in {args.folder}")


def ranked(model: str, out: Path) -> list[dict]:
    """Two answers to each prompt with their ranks, by a recipe of a `sample` and a `label` stage."""
    from alignkit.display import TerminalDisplay
    from alignkit.pipeline import run_plan
    from alignkit.recipe import parse_recipe
    from alignkit.registry import Registry
    from alignkit.stages.plan import make_plan

    recipe = {
        "name": "fallback",
        "seed": 0,
        "model": {"base": model},
        "data": {"prompts": {"path": str(PROMPTS)}},
        "stages": {
            "samples": {"sample": "base", "on": "prompts", "per_prompt": 2, "max_tokens": MAX_TOKENS},
            "ranked": {"label": "samples", "by": "sentiment"},
        },
    }
    registry = Registry()
    run_plan(make_plan(parse_recipe(recipe), registry, out), registry, out, TerminalDisplay())
    return [
        json.loads(line)
        for line in (out / "fallback" / "ranked" / "ranked.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def as_pair(row: dict) -> dict | None:
    """A ranked row as prompt, chosen and rejected; None where an answer is missing or both are as
    positive.
    """
    if len(row["completions"]) < 2 or row["rewards"][0] == row["rewards"][1]:
        return None
    chosen, rejected = (
        row["completions"] if row["rewards"][0] > row["rewards"][1] else row["completions"][::-1]
    )
    return {"prompt": row["prompt"], "chosen": chosen, "rejected": rejected}


if __name__ == "__main__":
    main()
