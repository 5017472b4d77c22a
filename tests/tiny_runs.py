"""Whole runs of the command line on a tiny local model: the base, a recipe, a run, and a run that is
killed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML
from tiny_models import tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from alignkit.recipe.file import apply_override

WORDS = [
    "red",
    "blue",
    "green",
    "cat",
    "dog",
    "bird",
    "runs",
    "sleeps",
    "eats",
    "today",
    "now",
    "well",
    "badly",
    "never",
    "always",
]


def make_base(folder: Path) -> Path:
    """A tiny model with a word tokenizer, and beside it `pairs.jsonl`."""
    words = {"<pad>": 0, "<eos>": 1, **{word: i + 2 for i, word in enumerate(WORDS)}}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>").save_pretrained(
        folder
    )
    tiny_model(vocab_size=len(words)).save_pretrained(folder)
    rng = random.Random(0)
    text = lambda: " ".join(rng.choices(WORDS, k=rng.randint(1, 6)))
    rows = [
        {"prompt": text(), "chosen": f" {text()} well", "rejected": f" {text()} badly"} for _ in range(40)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_recipe(folder: Path, base: Path, stages: str, *overrides: str) -> Path:
    """Write a recipe of these stages, which are YAML, on the tiny base; `key.path=value` changes it."""
    recipe = {
        "name": "tiny",
        "model": {
            "base": str(base),
            "quantization": "none",
            "dtype": "float32",
            "lora": {"r": 4, "dropout": 0.1},
        },
        "data": {"pairs": {"path": str(base / "pairs.jsonl")}},
        "training": {
            "batch_size": 4,
            "steps": 12,
            "save_every": 3,
            "learning_rate": 1e-2,
            "held_out": 0.2,
            "evaluate_every": 6,
        },
        "stages": YAML(typ="safe", pure=True).load(stages),
    }
    for override in overrides:
        apply_override(recipe, override)
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(recipe, indent=2))  # JSON is YAML
    return file


def command(recipe: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        "from alignkit.cli import main; main()",
        "run",
        str(recipe),
        "--out",
        str(out),
        "--no-report",  # drawing takes longer than tiny stages do
        *more,
    ]


def environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(recipe: Path, out: Path, *more: str, code: int = 0) -> str:
    done = subprocess.run(
        command(recipe, out, *more),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def kill_when(recipe: Path, out: Path, lines: int, number: int = signal.SIGKILL, *more: str) -> int:
    """Start a run and send it a signal once its stage `one` has written so many metrics lines."""
    metrics = out / "tiny" / "one" / "metrics.jsonl"
    return kill_once(
        recipe,
        out,
        lambda: metrics.is_file() and metrics.read_text().count("\n") >= lines,
        *more,
        number=number,
    )


def kill_once(
    recipe: Path, out: Path, due: Callable[[], bool], *more: str, number: int = signal.SIGKILL
) -> int:
    """Start a run and send it a signal when it is due; returns its exit code."""
    process = subprocess.Popen(
        command(recipe, out, *more), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if due():
            process.send_signal(number)
            break
        time.sleep(0.005)
    process.communicate(timeout=60)
    return process.returncode
