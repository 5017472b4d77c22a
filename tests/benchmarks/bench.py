"""Measures alignkit beside TRL: each run a process of its own, the two sides in turn; prints ratios of medians with their spread.

    python tests/benchmarks/bench.py [--work dpo dpo-cached reward sft] [--repeats 3] [--steps 8] [--dtype auto|bfloat16|float32]

Model: the bundled one in NF4, LoRA r = 16 on all linear layers, AdamW, 4 pairs (8 demonstrations) a step, at most 512 tokens.
`auto` takes bfloat16 for both sides where the machine multiplies it natively, and float32 elsewhere.
Runs on a CUDA device where there is one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from workload import DEMONSTRATIONS, PAIRS

HERE = Path(__file__).parent
ASKED = {"dpo": (3.0, 0.6), "dpo-cached": (3.0, None), "reward": (2.0, 0.7), "sft": (2.5, 0.6)}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs="+", choices=ASKED, default=list(ASKED))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--dtype", default="auto", choices=["auto", "bfloat16", "float32"])
    parser.add_argument("--pairs", type=Path, default=PAIRS, help="JSONL of prompt, chosen, rejected, or HH-RLHF transcripts")
    parser.add_argument("--demonstrations", type=Path, default=DEMONSTRATIONS, help="JSONL of prompt, completion")
    args = parser.parse_args()
    for path in (args.pairs, args.demonstrations):
        if not path.is_file():
            raise SystemExit(f"{path} is absent; give --pairs and --demonstrations")

    from alignkit_smollm2 import locate

    model = locate()
    dtype, rate = fastest(args.dtype)
    print(f"computing in {dtype}, in which this machine multiplies at {rate:.0f} GFLOP/s\n", flush=True)
    lines = [row(work, args, model, dtype, rate) for work in args.work]
    print("\n| work | alignkit | TRL | speed | asked | alignkit GB | TRL GB | memory | asked | of the matrix rate |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))


def row(work: str, args: argparse.Namespace, model: str, dtype: str, rate: float) -> str:
    """Run both sides of one workload in turn; a line of the table."""
    found: dict[str, list[dict]] = {"ours": [], "peer": []}
    data = args.demonstrations if work == "sft" else args.pairs
    for _ in range(args.repeats):
        for side, runs in found.items():
            command = [
                sys.executable,
                str(HERE / f"{side}.py"),
                work,
                "--model",
                model,
                "--data",
                str(data),
                "--steps",
                str(args.steps),
                "--dtype",
                dtype,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
            runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(json.dumps(runs[-1]), flush=True)
    ours, peer = ([run["per_second"] for run in found[side]] for side in ("ours", "peer"))
    speed = statistics.median(ours) / statistics.median(peer)
    spread = [min(ours) / max(peer), max(ours) / min(peer)]
    memory = [statistics.median(run["peak_gb"] for run in found[side]) for side in ("ours", "peer")]
    share = found["ours"][0]["needed_gflop"] * statistics.median(ours) / rate
    asked_speed, asked_memory = ASKED[work]
    speeds = f"**{speed:.2f} ×** ({spread[0]:.2f}–{spread[1]:.2f}) | ≥ {asked_speed} ×"
    limit = f"≤ {asked_memory} ×" if asked_memory else ""
    return (
        f"| {work} | {statistics.median(ours):.2f}/s | {statistics.median(peer):.2f}/s | {speeds} "
        f"| {memory[0]:.1f} | {memory[1]:.1f} | **{memory[0] / memory[1]:.2f} ×** | {limit} | {share:.0%} |"
    )


def fastest(dtype: str) -> tuple[str, float]:
    """The dtype to compute in, and the machine's matrix rate in it, GFLOP/s."""
    import torch

    from alignkit.models.base import compute_dtype

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    best = str(compute_dtype(dtype, device)).removeprefix("torch.")
    return best, matrix_rate(best)


def matrix_rate(dtype: str) -> float:
    """GFLOP/s of a product of 2048 × 2048 matrices."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(2048, 2048, device=device, dtype=getattr(torch, dtype))
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        for _ in range(3):
            torch.nn.functional.linear(a, a)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append((time.perf_counter() - began) / 3)
    return 2 * 2048**3 / min(seconds) / 1e9


if __name__ == "__main__":
    main()
