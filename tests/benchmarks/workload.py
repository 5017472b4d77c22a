"""The work that both sides do: the same examples, sizes and settings, and how a run reports itself."""

from __future__ import annotations

import gzip
import json
import resource
from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
PAIRS, DEMONSTRATIONS = SHARED / "hh_harmless_test" / "test.jsonl.gz", SHARED / "dolly" / "train.jsonl"
RANK, ALPHA, MAX_LENGTH, LEARNING_RATE, BETA = 16, 32, 512, 1e-5, 0.1
BATCH = {"sft": 8}
WARM_UP = 2  # steps left out of the timing


def batch_size(work: str) -> int:
    """Groups an optimizer step: 4 pairs, or 8 demonstrations."""
    return BATCH.get(work, 4)


def read_rows(work: str, path: Path, count: int) -> list[dict]:
    """The first `count` usable rows as conversations: prompt and completion, or prompt, chosen and rejected."""
    rows = []
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for line in file:
            row = json.loads(line)
            row = row if "prompt" in row else from_transcripts(row)
            if row is not None and fits(row):
                rows.append({key: row[key] for key in ("prompt", "completion", "chosen", "rejected") if key in row})
            if len(rows) == count:
                return rows
    raise SystemExit(f"{path} holds {len(rows)} usable rows; {count} are needed for {work}")


def fits(row: dict) -> bool:
    """Whether every completion stays well below the length limit, so that neither side cuts or drops it."""
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


def report(work: str, side: str, dtype: str, step_seconds: list[float], *, extra_seconds_per_group: float = 0.0, **more: object) -> str:
    """One JSON line. extra_seconds_per_group: work done before the steps (cached reference log-probabilities), spread over groups."""
    import torch

    timed = step_seconds[WARM_UP:]
    seconds = sum(timed) / len(timed) / batch_size(work) + extra_seconds_per_group
    cuda = torch.cuda.is_available()
    memory = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = {"work": work, "side": side, "dtype": dtype, "per_second": 1 / seconds, "peak_gb": memory / 1e9, "steps": len(timed), **more}
    return json.dumps(line)
