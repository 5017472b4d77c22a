"""The metrics of a training stage over its steps: their values, smoothed, and a picture of small
multiples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alignkit.report.describing import measure_label
from alignkit.report.figures import INK, Look, Picture, new_figure, render, whole_steps
from alignkit.report.reading import Stage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HELD_OUT, PROXY, KL = "held_out/", "rollouts/reward", "objective/kl"
# told in words, or of no use in a picture
ELSEWHERE = ("step", "tokens_per_second", "memory_gb", "rollouts/seconds")
MAIN = (PROXY, "rewards/", KL, "rollouts/")
LAST = ("learning_rate", "grad_norm")
BASELINE = "held_out/length_only_accuracy"
MOST_PANELS = 15
SMOOTHED_FROM = 40  # steps; a shorter run is drawn as it is


@dataclass(frozen=True)
class Series:
    """A metric over the steps at which it was measured."""

    steps: tuple[float, ...]
    values: tuple[float, ...]


def series(records: Sequence[Mapping[str, float]], name: str) -> Series:
    """The metric's finite values."""
    kept = [record for record in records if has(record, name)]
    return Series(
        tuple(float(record["step"]) for record in kept), tuple(float(record[name]) for record in kept)
    )


def has(record: Mapping[str, float], name: str) -> bool:
    """Whether the record has a finite value of the metric."""
    return isinstance(record.get(name), int | float) and math.isfinite(record[name])


def smoothed(values: Sequence[float]) -> list[float]:
    """The centred running mean over about a twentieth of the values, fewer at the ends, so that it lags
    behind nothing.
    """
    half = len(values) // 40 if len(values) >= SMOOTHED_FROM else 0
    means = []
    for place in range(len(values)):
        window = values[max(0, place - half) : place + half + 1]
        means.append(sum(window) / len(window))
    return means


def panel_names(records: Sequence[Mapping[str, float]], terms: Sequence[str] = ()) -> list[str]:
    """The metrics to draw, in order of interest: losses, rewards, KL, the rest, log-probabilities, the
    optimizer's.

    A held-out metric shares the panel of its twin in training, and a reward that is the optimised one is
    drawn once. terms: the objectives of a mixture, whose names stand before those of their metrics.
    """
    found = dict.fromkeys(
        name.removeprefix(HELD_OUT)
        for record in records
        for name in record
        if name != BASELINE and has(record, name)
    )
    bare = {name: split_term(name, terms)[1] for name in found}
    sampled = {name.removesuffix(PROXY) for name in found if bare[name] == PROXY}
    repeated = {
        f"{of}{bare[name]}"
        for name in found
        for of in sampled
        if bare[name].startswith("rewards/") and name.startswith(of)
    }
    names = [
        name
        for name in found
        if bare[name] not in ELSEWHERE and not (name in repeated and not _differs(records, name, terms))
    ]
    return sorted(names, key=lambda name: _interest(bare[name]))


def split_term(name: str, terms: Sequence[str]) -> tuple[str, str]:
    """A metric's name as the objective's prefix, `TERM/` or empty, and the rest."""
    term = next((f"{term}/" for term in terms if name.startswith(f"{term}/")), "")
    return term, name.removeprefix(term)


def terms_of(stage: Stage) -> list[str]:
    """The objectives of a mixture; none where there is only one, whose metrics have plain names."""
    names = [str(term.get("objective")) for term in stage.manifest.inputs.get("terms") or []]
    return names if len(names) > 1 else []


def _interest(name: str) -> int:
    if name == "loss" or name.endswith("/loss"):
        return -1
    if name in LAST or name.startswith("logps/"):
        return len(MAIN) + 1 + (name in LAST)
    return next((place for place, start in enumerate(MAIN) if name.startswith(start)), len(MAIN))


def curves(stage: Stage, look: Look) -> Picture | None:
    """Small multiples of the stage's metrics, held-out values beside those of training; None before the first
    step.
    """
    terms = terms_of(stage)
    known = panel_names(stage.metrics, terms)
    names = known[:MOST_PANELS]
    if not names:
        return None
    figure, axes = new_figure(len(names), across=3, width=3.3, height=2.2)
    for panel, name in zip(axes, names, strict=True):
        _curve(panel, stage.metrics, name, look)
        term, bare = split_term(name, terms)
        panel.set_title(f"{term}{measure_label(bare)}", fontsize=9, color=INK, loc="left")
        whole_steps(panel)
        if name == "learning_rate":
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    for panel in axes[-3:]:
        panel.set_xlabel("step")
    baseline = series(stage.metrics, BASELINE)
    if baseline.values:
        for panel, name in zip(axes, names, strict=True):
            if name.endswith(("accuracy", "accuracies")):
                panel.axhline(
                    baseline.values[-1], color=INK, linewidth=1, linestyle=":", label="the longer wins"
                )
                panel.legend(fontsize=7.5, frameon=False)
    left_out = (
        f" {len(known) - MOST_PANELS} further metrics are in metrics.jsonl."
        if len(known) > MOST_PANELS
        else ""
    )
    return render(figure, f"{stage.name}-training", f"Training of {stage.name}, by step.{left_out}")


def _curve(panel: Axes, records: Sequence[Mapping[str, float]], name: str, look: Look) -> None:
    training, held_out = series(records, name), series(records, HELD_OUT + name)
    if len(training.values) >= SMOOTHED_FROM:
        panel.plot(training.steps, training.values, color=look.color, alpha=0.25, linewidth=0.8)
    if training.values:
        label = "training" if held_out.values else None
        panel.plot(
            training.steps,
            smoothed(training.values),
            color=look.color,
            linewidth=1.6,
            label=label,
            marker=_dot(training),
        )
    if held_out.values:
        panel.plot(
            held_out.steps, held_out.values, "o--", color=INK, linewidth=1, markersize=3.5, label="held out"
        )
        panel.legend(fontsize=7.5, frameon=False)


def _dot(line: Series) -> str:
    """A line of one point is only seen with a marker."""
    return "o" if len(line.values) == 1 else ""


def _differs(records: Sequence[Mapping[str, float]], name: str, terms: Sequence[str]) -> bool:
    """Whether it was measured and is not the optimised reward under its own name."""
    proxy = f"{split_term(name, terms)[0]}{PROXY}"
    return any(
        has(record, name)
        and has(record, proxy)
        and not math.isclose(record[name], record[proxy], abs_tol=1e-9)
        for record in records
    )
