"""A run's folder with every kind of file, made up but of the shape that real runs have."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

MODEL = {"base": "tiny-model", "quantization": "nf4", "dtype": "auto", "lora": {"r": 16, "alpha": 32}}
VERSIONS = {"python": "3.13.1", "alignkit": "0.1.0", "torch": "2.13.0"}
SCRIPT = "<script>alert('sample')</script>"


def write_stage(
    run: Path,
    name: str,
    verb: str,
    *,
    settings: dict[str, Any],
    reads: list[str],
    done: bool = True,
    **more: Any,
) -> Path:
    """A stage's folder with its manifest and, where it is done, its summary."""
    folder = run / name
    folder.mkdir(parents=True)
    inputs = {
        "stage": verb,
        "settings": settings,
        "terms": more.get("terms", []),
        "model": MODEL,
        "seed": 0,
        "reads": dict.fromkeys(reads, "f"),
    }
    manifest = {"fingerprint": "f" * 64, "inputs": inputs, "done": done, "versions": VERSIONS, "files": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if done:
        (folder / "summary.json").write_text(json.dumps(more.get("summary", {})))
    if "metrics" in more:
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in more["metrics"]))
    return folder


def write_train(
    run: Path,
    name: str,
    objective: str,
    metrics: list[dict[str, float]],
    *,
    start: str | None = None,
    **more: Any,
) -> None:
    """A training stage."""
    terms = [
        {
            "objective": objective,
            "weight": 1.0,
            "on": "comparisons",
            "trains": ["policy"],
            **more.pop("options", {}),
        }
    ]
    settings = {"on": "comparisons", "start": start, "steps": 200, **more.pop("settings", {})}
    reads = ["comparisons", *([start] if start else []), *more.pop("reads", [])]
    summary = {"steps": 200, "held_out/loss": metrics[-1]["loss"] if metrics else 0}
    write_stage(
        run,
        name,
        "train",
        settings=settings,
        reads=reads,
        terms=terms,
        metrics=metrics,
        summary=summary,
        **more,
    )


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
    """The optimised reward rises throughout; the gold one, `sentiment`, turns."""
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
    run: Path, name: str, targets: dict[str, Any], *, reads: list[str], done: bool = True
) -> None:
    """An evaluate stage for policies, with samples of ten prompts."""
    settings = {
        "evaluate": [{"stage": name, "best_of": 1, "by": []} for name in targets],
        "on": "prompts",
        "by": [],
    }
    folder = write_stage(run, name, "evaluate", settings=settings, reads=["prompts", *reads], done=done)
    evaluation = {
        "kind": "policies",
        "on": "prompts",
        "against": "base",
        "prompts": 64,
        "per_prompt": 2,
        "targets": targets,
        "rewards": ["sentiment", "reward"],
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
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
    (folder / "samples.jsonl").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
    )


def write_reward_evaluation(run: Path) -> None:
    """An evaluate stage for a reward model."""
    settings = {"evaluate": ["reward"], "on": "pairs"}
    folder = write_stage(run, "judge", "evaluate", settings=settings, reads=["pairs", "reward"])
    measures = {
        "accuracy": interval(0.71, 0.04, 400),
        "length_only_accuracy": interval(0.56, 0.05, 400),
        "calibration_error": {"mean": 0.0624, "low": None, "high": None, "count": 400},
    }
    measures |= {"length_correlation": {"mean": None, "low": None, "high": None, "count": 0}}
    points = [(0.55, 0.52, 140), (0.65, 0.6, 110), (0.75, 0.68, 80), (0.85, 0.77, 50), (0.95, 0.9, 20)]
    bins = [{"predicted": p, "observed": o, "count": n} for p, o, n in points]
    evaluation = {
        "kind": "reward models",
        "on": "pairs",
        "targets": {"reward": measures},
        "calibration": {"reward": bins},
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))


def write_run(run: Path) -> Path:
    """A whole pipeline whose last training stage was interrupted."""
    write_train(run, "sft", "sft", offline_metrics(200, pairs=False))
    write_stage(
        run,
        "samples",
        "sample",
        settings={"sample": "sft", "on": "prompts", "per_prompt": 4},
        reads=["prompts", "sft"],
        summary={"prompts": 500, "completions": 2000, "finished": 0.93},
    )
    write_stage(
        run,
        "ranked",
        "label",
        settings={"label": "samples", "by": [{"reward": "sentiment", "weight": 1.0}], "noise": 0.5},
        reads=["samples"],
        summary={"prompts": 500, "mean_reward": 0.21},
    )
    write_train(
        run,
        "reward",
        "bradley-terry",
        offline_metrics(200, pairs=True, seed=1),
        start="sft",
        reads=["ranked"],
    )
    write_train(
        run,
        "dpo",
        "dpo",
        offline_metrics(200, pairs=True, seed=2),
        start="sft",
        reads=["ranked"],
        options={"beta": 0.1},
    )
    write_train(
        run,
        "ppo",
        "ppo",
        online_metrics(150),
        start="sft",
        reads=["reward"],
        settings={
            "reward": [{"reward": "reward", "weight": 1.0, "options": {}}],
            "watch": [{"reward": "sentiment", "weight": 1.0}],
        },
        options={"kl_coef": 0.05},
    )
    write_train(
        run,
        "unlikelihood",
        "unlikelihood",
        offline_metrics(90, pairs=True, seed=3),
        start="sft",
        reads=["ranked"],
        done=False,
    )
    write_reward_evaluation(run)
    targets = {
        "base": policy_measures(0.12, 0.1, 0.0, 44),
        "sft": policy_measures(0.21, 0.4, 1.2, 40),
        "dpo": policy_measures(0.42, 1.1, 6.5, 37),
        "ppo": policy_measures(0.47, 2.6, 17.0, 29),
    }
    write_evaluation(run, "compare", targets, reads=["sft", "dpo", "ppo", "reward"])
    return run
