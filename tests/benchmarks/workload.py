"""The work that both sides do: the same examples, sizes and settings, the clock, and how a run reports itself."""

from __future__ import annotations

import gzip
import json
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
PAIRS, DEMONSTRATIONS = SHARED / "hh_harmless_test" / "test.jsonl.gz", SHARED / "dolly" / "train.jsonl"
RANK, ALPHA, MAX_LENGTH, LEARNING_RATE, BETA = 16, 32, 512, 1e-5, 0.1
NEW_TOKENS, KL_COEF = 64, 0.05
LONGEST_PROMPT = 600  # characters, where completions are sampled: well below the length limit, so that no prompt is cut


@dataclass(frozen=True)
class Size:
    """groups: rows of data a step; per_group: what is counted of each; steps: how many a run makes; warm_up: of these, not timed.

    A step of PPO is a whole batch of samples with its 4 optimizer steps, hence one of warm-up instead of two.
    """

    groups: int
    counted: str
    per_group: int = 1
    steps: int = 8
    warm_up: int = 2


SIZES = {
    "dpo": Size(4, "pairs"),
    "dpo-cached": Size(4, "pairs"),
    "reward": Size(4, "pairs"),
    "sft": Size(8, "examples"),
    "rloo": Size(8, "samples", per_group=4, steps=5),
    "ppo": Size(32, "samples", steps=3, warm_up=1),
}
ONLINE = ("rloo", "ppo")


def read_rows(work: str, path: Path, count: int) -> list[dict]:
    """The first `count` usable rows as conversations: prompt and completion, or prompt, chosen and rejected; alone, each prompt once."""
    rows, seen = [], set()
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for line in file:
            row = json.loads(line)
            row = row if "prompt" in row else from_transcripts(row)
            if work in ONLINE and row is not None:
                row = {"prompt": row["prompt"]} if json.dumps(row["prompt"]) not in seen else None
            if row is not None and fits(row, work):
                seen.add(json.dumps(row["prompt"]))
                rows.append({key: row[key] for key in ("prompt", "completion", "chosen", "rejected") if key in row})
            if len(rows) == count:
                return rows
    raise SystemExit(f"{path} holds {len(rows)} usable rows; {count} are needed for {work}: take fewer --steps, or other data")


def fits(row: dict, work: str) -> bool:
    """Whether everything stays well below the length limit, so that neither side cuts or drops it."""
    if work in ONLINE:
        return sum(len(message["content"]) for message in row["prompt"]) < LONGEST_PROMPT
    replies = [row[key] for key in ("completion", "chosen", "rejected") if key in row]
    return all(len(reply[-1]["content"]) < 1.5 * MAX_LENGTH for reply in replies)


def from_transcripts(row: dict) -> dict | None:
    """An HH-RLHF pair as a conversation; None where a reply is empty or the prompts differ."""
    found = {}
    for side in ("chosen", "rejected"):
        prompt, mark, reply = row[side].rpartition("\n\nAssistant:")
        turns = []
        for exchange in prompt.split("\n\nHuman:")[1:]:
            question, *answers = exchange.split("\n\nAssistant:")
            turns += [{"role": "user", "content": question.strip()}, *({"role": "assistant", "content": a.strip()} for a in answers)]
        if not mark or not reply.strip() or found.setdefault("prompt", turns) != turns:
            return None
        found[side] = [{"role": "assistant", "content": reply.strip()}]
    return found


def seconds_now() -> float:
    """The clock, read when the device has done what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_gb() -> float:
    """Peak memory of this process so far: of the CUDA device, else resident."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def report(work: str, side: str, dtype: str, step_seconds: Sequence[float], *, extra_seconds_per_group: float = 0.0, **more: object) -> str:
    """One JSON line. extra_seconds_per_group: work done before the steps (cached reference log-probabilities), spread over groups."""
    size = SIZES[work]
    timed = step_seconds[size.warm_up :]
    if not timed:
        raise SystemExit(f"{len(step_seconds)} steps are too few for {work}: {size.warm_up} are warm-up")
    seconds = sum(timed) / len(timed) / size.groups + extra_seconds_per_group
    line = {"work": work, "side": side, "dtype": dtype, "per_second": size.per_group / seconds, "peak_gb": peak_gb(), "steps": len(timed)}
    return json.dumps({**line, "step_seconds": [round(value, 3) for value in step_seconds], **more})
