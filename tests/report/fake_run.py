"""Writes a run's folder with every kind of file: the numbers are made up, the shape is that of real runs."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignkit.evaluation.preferences import MEASURES as REWARD_MODEL_MEASURES
from alignkit.measure import Metric
from alignkit.report.records import StageRecord
from alignkit.run.folder import RunFolder
from alignkit.run.manifest import Inputs, Manifest, TermInputs, begin, finish
from alignkit.training.metrics import OF_A_STEP, OF_A_TERM

MODEL = {"base": "tiny-model", "quantization": "nf4", "dtype": "auto", "lora": {"r": 16, "alpha": 32}}
SCRIPT = "<script>alert('sample')</script>"

KL = Metric("KL to the reference", "nats per completion", divergence=True)
METRICS = {
    **OF_A_STEP,
    **OF_A_TERM,
    "rewards/reward": Metric("reward"),
    "rewards/sentiment": Metric("sentiment"),
    "rewards/accuracies": Metric("accuracy", "share of pairs"),
    "rewards/margins": Metric("margin of the rewards", "nats"),
    "logps/chosen": Metric("log-probability of the chosen", "nats", detail=True),
    "objective/kl": KL,
}
MEASURES = {
    "sentiment": Metric("sentiment"),
    "reward": Metric("reward"),
    "win_rate/sentiment": Metric("win rate against base, sentiment"),
    "kl": KL,
    "length": Metric("length", "tokens"),
    "unfinished": Metric("unfinished", "share of completions"),
    "repetition-4": Metric("repetition", "share of 4-grams"),
    "distinct-2": Metric("distinct 2-grams", "share"),
}


def make_inputs(
    verb: str = "train",
    *,
    settings: Mapping[str, Any] | None = None,
    reads: Sequence[str] = (),
    terms: Sequence[TermInputs] = (),
) -> Inputs:
    """Return what a stage is made of."""
    return Inputs(
        alignkit="0.1.0",
        verb=verb,
        settings=settings or {},
        code={},
        model=MODEL,
        seed=0,
        reads=dict.fromkeys(reads, "f"),
        terms=tuple(terms),
    )


def make_term(objective: str, **options: Any) -> TermInputs:
    """Return an objective that trains the policy on `comparisons`."""
    return TermInputs(objective, 1.0, "comparisons", {"policy": "language-model"}, options)


def make_record(
    *records: Mapping[str, float | None],
    terms: Sequence[str] = ("one",),
    settings: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> StageRecord:
    """Return a training stage `s` with one record per step, without files."""
    inputs = make_inputs(settings=settings, terms=[make_term(term) for term in terms])
    numbered = tuple({"step": number, **record} for number, record in enumerate(records, 1))
    return StageRecord("s", Manifest("f", inputs, metrics=metrics), numbered)


def write_stage(
    run: Path,
    name: str,
    verb: str,
    *,
    line: str = "",
    settings: Mapping[str, Any] | None = None,
    reads: Sequence[str] = (),
    terms: Sequence[TermInputs] = (),
    files: Mapping[str, str] | None = None,
    metrics: Sequence[Mapping[str, float]] | None = None,
    summary: Mapping[str, Any] | None = None,
    done: bool = True,
) -> Path:
    """Write a stage's folder with its manifest, its files by name and, where it is done, its summary."""
    folder = RunFolder(run).stage(name)
    inputs = make_inputs(verb, settings=settings, reads=reads, terms=terms)
    manifest = begin(folder, inputs, line, METRICS if verb == "train" else {})
    for file, text in (files or {}).items():
        (folder.path / file).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / file).write_text(text, encoding="utf-8")
    if metrics is not None:
        folder.metrics.write_text("".join(json.dumps(record) + "\n" for record in metrics))
    if done:
        folder.summary.write_text(json.dumps(summary or {}))
        finish(folder, manifest)
    return folder.path


def write_train(
    run: Path,
    name: str,
    objective: str,
    metrics: list[dict[str, float]],
    *,
    start: str | None = None,
    reads: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    done: bool = True,
) -> None:
    """Write a training stage."""
    write_stage(
        run,
        name,
        "train",
        line=f"train {objective} on comparisons" + (f", starting from {start}" if start else ""),
        settings={"on": "comparisons", "start": start, "steps": 200, **(settings or {})},
        reads=["comparisons", *([start] if start else []), *reads],
        terms=[make_term(objective, **(options or {}))],
        files=files,
        metrics=metrics,
        summary={"steps": 200, "held_out/loss": metrics[-1]["loss"] if metrics else 0},
        done=done,
    )


def data_report() -> str:
    """What became of the rows of `ranked`: 5 of 256 are no pairs."""
    tie = {"count": 5, "first": "ranked.jsonl:2"}
    report = {
        "name": "ranked",
        "rows": 256,
        "examples": 251,
        "completions": 1004,
        "prompt_tokens": 10503,
        "completion_tokens": 19754,
        "truncated": 3,
        "dropped": {"all completions tie": tie},
    }
    return json.dumps({"ranked": report})


def answer(prompt: str, completions: Sequence[str], **more: Any) -> str:
    """Return one row of completions, as messages."""
    said = [[{"role": "assistant", "content": text}] for text in completions]
    return json.dumps({"prompt": [{"role": "user", "content": prompt}], "completions": said, **more}) + "\n"


def offline_metrics(steps: int, pairs: bool, seed: int = 0) -> list[dict[str, float]]:
    """A loss that falls, noisily; held-out values every 25 steps."""
    rng, lines = random.Random(seed), []
    for step in range(1, steps + 1):
        share = step / 200
        noisy = lambda value: value + rng.gauss(0, 0.05)
        values = {"loss": 0.7 * math.exp(-1.5 * share) + 0.15}
        if pairs:
            values |= {
                "rewards/accuracies": 0.5 + 0.3 * share,
                "rewards/margins": 1.8 * share,
                "logps/chosen": -40 - 8 * share,
            }
        line = {"step": step, **{key: noisy(value) for key, value in values.items()}}
        line |= {
            "learning_rate": 1e-4 * (1 - share),
            "grad_norm": abs(rng.gauss(1, 0.2)),
            "tokens_per_second": 800.0,
            "memory_gb": 1.4,
        }
        if step % 25 == 0:
            line |= {f"held_out/{key}": noisy(value) + 0.02 for key, value in values.items()}
            line |= {"held_out/length_only_accuracy": 0.56} if pairs else {}
        lines.append(line)
    return lines


def online_metrics(steps: int, seed: int = 0) -> list[dict[str, float]]:
    """The optimized reward rises throughout; the gold one, `sentiment`, turns."""
    rng, lines = random.Random(seed), []
    for step in range(1, steps + 1):
        share = step / steps
        proxy = 3 * math.sqrt(share) + rng.gauss(0, 0.2)
        gold = 0.2 + 1.6 * share * (1.1 - share) + rng.gauss(0, 0.06)
        line = {
            "step": step,
            "loss": rng.gauss(0, 0.02),
            "rollouts/reward": proxy,
            "rewards/reward": proxy,
            "rewards/sentiment": gold,
        }
        line |= {
            "objective/kl": abs(18 * share + rng.gauss(0, 0.8)),
            "rollouts/length": 40 - 12 * share,
            "rollouts/finished": 0.7 + 0.2 * share,
        }
        lines.append(
            line
            | {
                "learning_rate": 1e-5,
                "grad_norm": abs(rng.gauss(0.6, 0.1)),
                "tokens_per_second": 310.0,
                "memory_gb": 2.2,
            }
        )
    return lines


def interval(mean: float, half: float, count: int = 64) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half, "count": count}


def policy_measures(sentiment: float, reward: float, kl: float, length: float) -> dict[str, Any]:
    return {
        "sentiment": interval(sentiment, 0.07),
        "reward": interval(reward, 0.3),
        "kl": interval(kl, 0.06 * kl),
        "win_rate/sentiment": interval(0.5 + sentiment / 3, 0.06),
        "length": interval(length, 3.0),
        "unfinished": interval(0.1, 0.04),
        "repetition-4": interval(0.05 * kl / 10, 0.01),
        "distinct-2": interval(0.7, 0.02),
    }


def write_evaluation(
    run: Path,
    name: str,
    targets: dict[str, Any],
    *,
    reads: list[str],
    each: Mapping[str, Any] | None = None,
    done: bool = True,
) -> None:
    """Write an evaluate stage for policies, with samples of ten prompts."""
    settings = {
        "evaluate": [{"stage": target, "best_of": 1, "by": []} for target in targets],
        "on": "prompts",
        "by": [],
    }
    evaluation = {
        "kind": "policies",
        "on": "prompts",
        "against": "base",
        "prompts": 64,
        "per_prompt": 2,
        "rewards": ["sentiment", "reward"],
        "measures": _plain(MEASURES),
        "targets": targets,
        "each": each or {},
    }
    files = {"evaluation.json": json.dumps(evaluation), "samples.jsonl": _samples(list(targets))}
    write_stage(
        run,
        name,
        "evaluate",
        line=f"evaluate {', '.join(targets)} on prompts by sentiment + reward, against base",
        settings=settings,
        reads=["prompts", *reads],
        files=files,
        done=done,
    )


def _samples(targets: Sequence[str]) -> str:
    # a line separator, which ends no line of the file
    story = "The bridge was new,\u2028and people walked over it all day. "
    lines = [
        {
            "prompt": [
                {"role": "user", "content": f"Question {number}: what was it like? See https://example.org"}
            ],
            "completions": {
                t: [f"{t} says {SCRIPT} & {story * (1 + number % 3)}" if number else "", "second"]
                for t in targets
            },
            "scores": {t: {"sentiment": [0.3, 0.1], "reward": [None, 1.0]} for t in targets},
        }
        for number in range(10)
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def write_reward_evaluation(run: Path) -> None:
    """Write an evaluate stage for a reward model."""
    values = {
        "accuracy": interval(0.71, 0.04, 400),
        "length_only_accuracy": interval(0.56, 0.05, 400),
        "calibration_error": {"mean": 0.0624, "low": None, "high": None, "count": 400},
        "length_correlation": {"mean": None, "low": None, "high": None, "count": 0},
    }
    points = [(0.55, 0.52, 140), (0.65, 0.6, 110), (0.75, 0.68, 80), (0.85, 0.77, 50), (0.95, 0.9, 20)]
    bins = [{"predicted": p, "observed": o, "count": n} for p, o, n in points]
    evaluation = {
        "kind": "reward models",
        "on": "pairs",
        "measures": _plain(REWARD_MODEL_MEASURES),
        "targets": {"reward": values},
        "calibration": {"reward": bins},
    }
    write_stage(
        run,
        "judge",
        "evaluate",
        line="evaluate the reward model reward on the pairs of pairs",
        settings={"evaluate": ["reward"], "on": "pairs"},
        reads=["pairs", "reward"],
        files={"evaluation.json": json.dumps(evaluation)},
    )


def _plain(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    return {name: metric.to_dict() for name, metric in metrics.items()}
