"""The work that both sides do: the same examples, sizes and settings, the clock, and how a run reports
itself.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
PAIRS, DEMONSTRATIONS = SHARED / "hh_harmless_test" / "test.jsonl.gz", SHARED / "dolly" / "train.jsonl"
RANK, ALPHA, MAX_LENGTH, LEARNING_RATE, BETA = 16, 32, 512, 1e-5, 0.1
NEW_TOKENS, KL_COEF = 64, 0.05
LONGEST_PROMPT = 600  # characters, where completions are sampled: well below the length limit


@dataclass(frozen=True)
class Size:
    """groups: rows of data a step; per_group: what is counted of each; steps: how many a run makes; warm_up:
    of these, not timed.

    A step of PPO is a whole batch of samples with its 4 optimizer steps, hence one of warm-up instead of two.
    """

    groups: int
    counted: str
    per_group: int = 1
    steps: int = 8
    warm_up: int = 2


SIZES = {
    "dpo": Size(4, "pairs", steps=12),
    "dpo-cached": Size(4, "pairs", steps=12),
    "reward": Size(4, "pairs", steps=12),
    "sft": Size(8, "examples"),
    "rloo": Size(8, "samples", per_group=4, steps=5),
    "ppo": Size(32, "samples", steps=3, warm_up=1),
}
ONLINE = ("rloo", "ppo")


def command_line(what: str | None, works: Iterable[str]) -> argparse.ArgumentParser:
    """The arguments that every side takes."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("work", choices=works)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--steps", type=int, default=8, help="where completions are sampled, batches of samples"
    )
    return parser


def read_examples(path: Path, count: int, tokenizer) -> list[dict]:
    """The first `count` rows as conversations: prompt and completion, or prompt, chosen and rejected, none
    longer than the limit, so that neither side cuts or drops any."""
    rows: list[dict] = []
    for row in conversations(path):
        replies = {key: row[key] for key in ("completion", "chosen", "rejected") if key in row}
        texts = [
            tokenizer.apply_chat_template(row["prompt"] + reply, return_dict=True)["input_ids"]
            for reply in replies.values()
        ]
        if max(map(len, texts)) <= MAX_LENGTH:
            rows.append({"prompt": row["prompt"], **replies})
        if len(rows) == count:
            return rows
    raise too_few(path, len(rows), count)


def read_prompts(path: Path, count: int) -> list[dict]:
    """The first `count` different prompts that leave ample room for a completion."""
    prompts: dict[str, dict] = {}
    for row in conversations(path):
        if sum(len(message["content"]) for message in row["prompt"]) < LONGEST_PROMPT:
            prompts[json.dumps(row["prompt"])] = {"prompt": row["prompt"]}
        if len(prompts) == count:
            return list(prompts.values())
    raise too_few(path, len(prompts), count)


def too_few(path: Path, found: int, count: int) -> SystemExit:
    """The error."""
    return SystemExit(
        f"{path} holds {found} usable rows; {count} are needed: take fewer --steps, or other data"
    )


def conversations(path: Path) -> Iterator[dict]:
    """The rows of a JSONL file, HH-RLHF transcripts as conversations, unusable ones left out."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for line in file:
            row = json.loads(line)
            row = row if "prompt" in row else from_transcripts(row)
            if row is not None:
                yield row


def from_transcripts(row: dict) -> dict | None:
    """An HH-RLHF pair as a conversation; None where a reply is empty or the prompts differ."""
    found = {}
    for side in ("chosen", "rejected"):
        prompt, mark, reply = row[side].rpartition("\n\nAssistant:")
        turns = []
        for exchange in prompt.split("\n\nHuman:")[1:]:
            question, *answers = exchange.split("\n\nAssistant:")
            turns += [
                {"role": "user", "content": question.strip()},
                *({"role": "assistant", "content": a.strip()} for a in answers),
            ]
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


def report(
    work: str,
    side: str,
    dtype: str,
    step_seconds: Sequence[float],
    *,
    extra_seconds_per_group: float = 0.0,
    **more: object,
) -> str:
    """One JSON line. extra_seconds_per_group: work done before the steps (cached reference
    log-probabilities), spread over groups.
    """
    size = SIZES[work]
    timed = step_seconds[size.warm_up :]
    if not timed:
        raise SystemExit(f"{len(step_seconds)} steps are too few for {work}: {size.warm_up} are warm-up")
    seconds = sum(timed) / len(timed) / size.groups + extra_seconds_per_group
    line = {
        "work": work,
        "side": side,
        "dtype": dtype,
        "per_second": size.per_group / seconds,
        "peak_gb": peak_gb(),
        "steps": len(timed),
    }
    return json.dumps({**line, "step_seconds": [round(value, 3) for value in step_seconds], **more})
