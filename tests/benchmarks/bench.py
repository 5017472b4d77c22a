"""Measures alignkit beside TRL: each run a process of its own, the two sides in turn; prints ratios of
medians with their spread.

    python tests/benchmarks/bench.py [--work dpo dpo-cached reward sft rloo ppo group-cost roles vocabulary]
    [--repeats 3] [--json FILE]

Model: the bundled one in NF4, LoRA r = 16 on all linear layers, AdamW, 4 pairs (8 demonstrations) a step, at
most 512 tokens; rloo: 8 prompts × 4 samples of 64 tokens a step, rewarded by `sentiment`; ppo: 32 samples of
64 tokens, 4 epochs, a reward model. `auto` takes bfloat16 for both sides where the machine multiplies it
natively, and float32 elsewhere. PPO left TRL: its side is run where --trl-ppo names a folder with TRL 1.12.0
in it (pip install --no-deps --target FOLDER trl==1.12.0). Without data the model's own answers to everyday
prompts serve, drawn once and kept in the cache folder. Runs on a CUDA device where there is one.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import fallback
from workload import DEMONSTRATIONS, ONLINE, PAIRS, SIZES

HERE = Path(__file__).parent
ASKED = {
    "dpo": (3.0, 0.6),
    "dpo-cached": (3.0, None),
    "reward": (2.0, 0.7),
    "sft": (2.5, 0.6),
    "rloo": (2.5, 0.6),
    "ppo": (3.0, 0.4),
}
ALONE = {"group-cost": "group_cost.py", "roles": "roles_memory.py", "vocabulary": "vocabulary_memory.py"}
COLUMNS = (
    "work",
    "alignkit",
    "TRL",
    "speed",
    "asked",
    "alignkit GB",
    "TRL GB",
    "memory",
    "asked",
    "of the matrix rate",
)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", nargs="+", choices=[*SIZES, *ALONE], default=[*SIZES, *ALONE])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, help="of every run, warm-up included; of ppo, batches of samples"
    )
    parser.add_argument("--dtype", default="auto", choices=["auto", "bfloat16", "float32"])
    parser.add_argument("--model", help="a folder or hub id instead of the bundled model")
    parser.add_argument(
        "--pairs", type=Path, help="JSONL of prompt, chosen, rejected, or HH-RLHF transcripts"
    )
    parser.add_argument("--demonstrations", type=Path, help="JSONL of prompt, completion")
    parser.add_argument("--trl-ppo", type=Path, help="a folder with TRL 1.12.0, the last with PPO")
    parser.add_argument("--json", type=Path, help="a file that every raw line is appended to")
    args = parser.parse_args()

    from alignkit_smollm2 import locate

    args.model = args.model or locate()
    if set(args.work) - set(ALONE):
        args.pairs = found(args.pairs, PAIRS, fallback.PAIRS, args.model)
        args.demonstrations = found(args.demonstrations, DEMONSTRATIONS, fallback.DEMONSTRATIONS, args.model)
    args.dtype, rate = fastest(args.dtype)
    data = {"pairs": str(args.pairs), "demonstrations": str(args.demonstrations)}
    keep(
        {**surroundings(), "model": args.model, **data, "dtype": args.dtype, "matrix_gflops": round(rate)},
        args.json,
    )
    compared = [row(work, args, rate) for work in args.work if work in SIZES]
    if compared:
        print("\n" + table(COLUMNS, compared))
    for work in args.work:
        if work in ALONE:
            lines = run(ALONE[work], ["--model", args.model, "--dtype", args.dtype])
            keep({"work": work, "lines": lines}, args.json)
            print(f"\n{work}\n\n{table(lines[0], [line.values() for line in lines])}", flush=True)


def found(given: Path | None, shared: Path, name: str, model: str) -> Path:
    """The data: as given, else the shared file where it is present, else the model's own answers, drawn now
    if they were not yet.
    """
    if given is not None and not given.is_file():
        raise SystemExit(f"{given} is absent")
    if given or shared.is_file():
        return given or shared
    from alignkit_smollm2 import cache_folder

    folder = cache_folder() / f"benchmark-{Path(model).name}"
    if not (folder / fallback.DEMONSTRATIONS).is_file():
        print(f"{shared} is absent: drawing samples of the model into {folder}, once", flush=True)
        subprocess.run([sys.executable, str(HERE / "fallback.py"), str(folder), "--model", model], check=True)
    return folder / name


def row(work: str, args: argparse.Namespace, rate: float) -> list[str]:
    """Run both sides of one workload in turn; a line of the table."""
    runs: dict[str, list[dict]] = {"ours": [], "peer": []}
    sides = ["ours"] if work == "ppo" and args.trl_ppo is None else ["ours", "peer"]
    for _ in range(args.repeats):
        for side in sides:
            runs[side].append(run(*command(work, side, args)))
            keep(runs[side][-1], args.json)
    speeds = {side: [line["per_second"] for line in runs[side]] for side in sides}
    speed = {side: statistics.median(values) for side, values in speeds.items()}
    memory = {side: statistics.median(line["peak_gb"] for line in runs[side]) for side in sides}
    counted = f"{speed['ours']:.2f} {SIZES[work].counted}/s"
    share = f"{runs['ours'][0]['needed_gflop'] * speed['ours'] / rate:.0%}"
    if "peer" not in sides:
        return [work, counted, "not run", "", "", f"{memory['ours']:.1f}", "", "", "", share]
    spread = (
        f"{min(speeds['ours']) / max(speeds['peer']):.2f}–{max(speeds['ours']) / min(speeds['peer']):.2f}"
    )
    asked = [
        f"{sign} {value} ×" if value else ""
        for sign, value in zip("≥≤", ASKED.get(work, (None, None)), strict=True)
    ]
    return [
        work,
        counted,
        f"{speed['peer']:.2f}/s",
        f"**{speed['ours'] / speed['peer']:.2f} ×** ({spread})",
        asked[0],
        f"{memory['ours']:.1f}",
        f"{memory['peer']:.1f}",
        f"**{memory['ours'] / memory['peer']:.2f} ×**",
        asked[1],
        share,
    ]


def command(work: str, side: str, args: argparse.Namespace) -> tuple[str, list[str]]:
    """The script of a side, and its arguments."""
    data, steps = args.demonstrations if work == "sft" else args.pairs, args.steps or SIZES[work].steps
    more = ["--trl", str(args.trl_ppo)] if work == "ppo" and side == "peer" else []
    arguments = [
        work,
        "--model",
        args.model,
        "--data",
        str(data),
        "--steps",
        str(steps),
        "--dtype",
        args.dtype,
        *more,
    ]
    return (f"online_{side}.py" if work in ONLINE else f"{side}.py"), arguments


def run(script: str, arguments: list[str]):
    """What a script prints as its last line, from JSON."""
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def keep(line: dict, file: Path | None) -> None:
    """Print a raw line, and append it to the file."""
    text = json.dumps(line, ensure_ascii=False)
    print(text, flush=True)
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(text + "\n")


def table(columns: Iterable[str], lines: Iterable[Iterable]) -> str:
    """A Markdown table."""
    columns = list(columns)
    cells = [[f"{value:,}" if isinstance(value, int) else str(value) for value in line] for line in lines]
    return "\n".join(f"| {' | '.join(values)} |" for values in [columns, ["---"] * len(columns), *cells])


def surroundings() -> dict[str, str]:
    """What was measured, when, and on which machine."""
    import torch

    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return {
        "commit": git.stdout.strip() or "unknown",
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        **{package: version(package) for package in ("torch", "transformers", "peft", "bitsandbytes", "trl")},
        "machine": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{processor()}, {torch.get_num_threads()} threads",
    }


def processor() -> str:
    """The processor's name, where the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor() or "unknown",
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
