"""Writes what the page says in words: results, the pace of a training, what went into it, and warnings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from statistics import median
from typing import Any

from alignkit.evaluation.preferences import ACCURACY
from alignkit.report.conclusions import best
from alignkit.report.numerals import duration, number_label
from alignkit.report.records import REWARD_MODELS, Evaluation, RunRecord, StageRecord
from alignkit.report.series import series
from alignkit.training.metrics import HELD_OUT, LOSS, MEMORY, SPEED

MOST_RESULTS = 4
DEAR = 0.05
"""Nats per token from which the cost of quantization is a warning."""


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
    """Name the target with the highest mean of the first reward, or of the accuracy.

    Where its interval overlaps another's, say so.
    """
    name = ACCURACY if evaluation.kind == REWARD_MODELS else next(iter(evaluation.rewards), "")
    means = {target: values[name].mean for target, values in evaluation.targets.items() if name in values}
    finite = {target: mean for target, mean in means.items() if math.isfinite(mean)}
    if not finite:
        return ""
    top = max(finite, key=lambda target: finite[target])
    sure = best({target: evaluation.targets[target][name] for target in finite}) == top
    return f"highest {name}: {top}, {number_label(finite[top])}" + (
        "" if sure or len(finite) == 1 else " (intervals overlap)"
    )


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
    """Write the model, the seed, the machine, the time and the packages; several values where stages differ.

    What no stage tells is left out.
    """
    manifests = [stage.manifest for stage in run.stages]
    packages = dict.fromkeys(name for manifest in manifests for name in manifest.versions)
    versions = [
        f"{name} {_joined(manifest.versions.get(name, '') for manifest in manifests)}" for name in packages
    ]
    machines = (str(manifest.hardware) for manifest in manifests if manifest.hardware)
    found = {
        "Model": _joined(_model(manifest.inputs.model) for manifest in manifests),
        "Seed": _joined(str(manifest.inputs.seed) for manifest in manifests),
        "Hardware": _joined(machines),
        "Time": duration(sum(manifest.seconds for manifest in manifests)),
        "Versions": ", ".join(versions),
    }
    if not any(manifest.seconds for manifest in manifests):
        del found["Time"]  # an older version did not measure it, or nothing is finished
    return {name: value for name, value in found.items() if value}


def warnings(run: RunRecord) -> list[str]:
    """Say what a reader must know before she believes the numbers."""
    said = [
        f"{stage.name}: {quantization_line(stage)}. Its numbers are those of a damaged base."
        for stage in run.stages
        if stage.quantization and (stage.quantization.cost or 0) > DEAR
    ]
    left = [stage.name for stage in run.stages if run.recipe and stage.name not in run.recipe.stages]
    if left:
        said.append(f"Not in the recipe any more: {', '.join(left)}. They stand after its stages.")
    if run.recipe is None:
        said.append(
            "An older version of alignkit wrote this run without its recipe: "
            "each stage stands after those it reads."
        )
    return said


def quantization_line(stage: StageRecord) -> str:
    """Write what quantization costs on a stage's data; empty where that was not measured."""
    found = stage.quantization
    if found is None:
        return ""
    if found.cost is None:
        return f"{found.quantization}: its cost was not measured: {found.why or 'no reason is kept'}"
    interval = "" if found.low is None else f" ({_loss(found.low)} to {_loss(found.high)})"
    of = f" on {found.completions} completions" if found.completions else ""
    return (
        f"{found.quantization} costs {_loss(found.cost)} nats per token{interval}{of}: "
        f"{_loss(found.unquantized)} → {_loss(found.loss)}"
    )


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def data_rows(stage: StageRecord) -> list[dict[str, str]]:
    """Write what became of the rows of each data set that the stage learned from."""
    return [_data_row(name, report) for name, report in stage.data.items()]


def _data_row(name: str, report: Mapping[str, Any]) -> dict[str, str]:
    dropped = report.get("dropped") or {}
    reasons = [f"{how['count']:,} × {why} (first at {how['first']})" for why, how in dropped.items()]
    counts = {
        "rows": report.get("rows"),
        "used": report.get("examples"),
        "completions": report.get("completions"),
        "dropped": sum(how["count"] for how in dropped.values()),
        "truncated": report.get("truncated"),
        "prompt tokens": report.get("prompt_tokens"),
        "completion tokens": report.get("completion_tokens"),
    }
    return {
        "data": name,
        **{title: "–" if count is None else f"{count:,}" for title, count in counts.items()},
        "reasons": "; ".join(reasons) or "–",
    }


def _model(model: Mapping[str, Any]) -> str:
    rank = (model.get("lora") or {}).get("r", "?")
    parts = [str(model.get(key, "?")) for key in ("base", "quantization", "dtype")]
    return ", ".join([*parts, f"LoRA r = {rank}"])


def _joined(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(value for value in values if value))
