"""Writes what the page says in words: results, the pace of a training, the model, and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from statistics import median
from typing import Any

from alignkit.evaluation.preferences import ACCURACY
from alignkit.report.records import REWARD_MODELS, Evaluation, RunRecord, StageRecord
from alignkit.report.series import series
from alignkit.training.metrics import HELD_OUT, LOSS, MEMORY, SPEED

MOST_RESULTS = 4


def number_label(value: float) -> str:
    """Write a number with three significant digits.

    A whole number is written with all its digits. An exponent stands only where the number is very large or
    very small.
    """
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size == round(size) and size < 1e6:
        return f"{value:,.0f}"
    if size >= 1e6 or size < 1e-3:
        return f"{value:.2g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(size)))}f}"


def summary_line(stage: StageRecord) -> str:
    """Write the stage's first few final numbers: its steps, its losses, the rest, and details last.

    Of an evaluation, write which target is ahead.
    """
    if stage.evaluation is not None:
        return _ahead(stage.evaluation)
    numbers = {
        name: float(value)
        for name, value in stage.summary.items()
        if isinstance(value, Real) and not isinstance(value, bool)
    }

    def place(name: str) -> tuple[bool, bool, bool, str]:
        detail = stage.metric(name.removeprefix(HELD_OUT)).detail
        return name != "steps", not name.endswith(LOSS), detail, name

    parts = [
        f"{name.replace(HELD_OUT, 'held-out ').replace('_', ' ')} {number_label(numbers[name])}"
        for name in sorted(numbers, key=place)[:MOST_RESULTS]
    ]
    stopped = stage.summary.get("stopped")
    if isinstance(stopped, Mapping):
        parts.append(f"stopped by {stopped['by']}: {stopped['reason']}")
    return ", ".join(parts)


def _ahead(evaluation: Evaluation) -> str:
    """Name the target with the highest mean of the first reward, or of the accuracy."""
    name = ACCURACY if evaluation.kind == REWARD_MODELS else next(iter(evaluation.rewards), "")
    means = {target: values[name].mean for target, values in evaluation.targets.items() if name in values}
    finite = {target: mean for target, mean in means.items() if math.isfinite(mean)}
    if not finite:
        return ""
    best = max(finite, key=lambda target: finite[target])
    return f"highest {name}: {best}, {number_label(finite[best])}"


def pace(stage: StageRecord) -> str:
    """Write how far a training came, how fast it was and how much memory it took."""
    if not stage.metrics:
        return "no step yet"
    speed, memory = series(stage.metrics, SPEED).values, series(stage.metrics, MEMORY).values
    parts = [f"{stage.metrics[-1]['step']:.0f} steps done"]
    parts += [f"median {number_label(median(speed))} tokens per second"] if speed else []
    parts += [f"peak memory {number_label(max(memory))} GB"] if memory else []
    return ", ".join(parts)


def facts(run: RunRecord) -> dict[str, str]:
    """Write the model, the seed and the packages; several values where the stages differ."""
    manifests = [stage.manifest for stage in run.stages]
    packages = dict.fromkeys(name for manifest in manifests for name in manifest.versions)
    versions = [
        f"{name} {_joined(manifest.versions.get(name, '') for manifest in manifests)}" for name in packages
    ]
    return {
        "Model": _joined(_model(manifest.inputs.model) for manifest in manifests),
        "Seed": _joined(str(manifest.inputs.seed) for manifest in manifests),
        "Versions": ", ".join(versions),
    }


def _model(model: Mapping[str, Any]) -> str:
    rank = (model.get("lora") or {}).get("r", "?")
    parts = [str(model.get(key, "?")) for key in ("base", "quantization", "dtype")]
    return ", ".join([*parts, f"LoRA r = {rank}"])


def _joined(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(value for value in values if value))
