"""Pictures of a training stage: its metrics over the steps, and the optimised reward beside a gold one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alignkit.report.describing import measure_label
from alignkit.report.figures import INK, Look, Picture, new_figure, render, style, whole_steps
from alignkit.report.reading import Stage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HELD_OUT, PROXY, KL = "held_out/", "rollouts/reward", "objective/kl"
ELSEWHERE = ("step", "tokens_per_second", "memory_gb", "rollouts/seconds")  # told in words, or of no use in a picture
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
    kept = [record for record in records if _has(record, name)]
    return Series(tuple(float(record["step"]) for record in kept), tuple(float(record[name]) for record in kept))


def _has(record: Mapping[str, float], name: str) -> bool:
    return isinstance(record.get(name), int | float) and math.isfinite(record[name])


def smoothed(values: Sequence[float]) -> list[float]:
    """The centred running mean over about a twentieth of the values, fewer at the ends, so that it lags behind nothing."""
    half = len(values) // 40 if len(values) >= SMOOTHED_FROM else 0
    means = []
    for place in range(len(values)):
        window = values[max(0, place - half) : place + half + 1]
        means.append(sum(window) / len(window))
    return means


def panel_names(records: Sequence[Mapping[str, float]]) -> list[str]:
    """The metrics to draw, in order of interest: losses, rewards, KL, the rest, log-probabilities, the optimizer's.

    A held-out metric shares the panel of its twin in training, and a reward that is the optimised one is drawn once.
    """
    found = dict.fromkeys(name.removeprefix(HELD_OUT) for record in records for name in record if name != BASELINE and _has(record, name))
    repeated = {name for name in found if name.startswith("rewards/") and PROXY in found and not _differs(records, name)}
    names = [name for name in found if name not in ELSEWHERE and name not in repeated]
    return sorted(names, key=_interest)


def _interest(name: str) -> int:
    if name == "loss" or name.endswith("/loss"):
        return -1
    if name in LAST or name.startswith("logps/"):
        return len(MAIN) + 1 + (name in LAST)
    return next((place for place, start in enumerate(MAIN) if name.startswith(start)), len(MAIN))


def curves(stage: Stage, look: Look) -> Picture | None:
    """Small multiples of the stage's metrics, held-out values beside those of training; None before the first step."""
    known = panel_names(stage.metrics)
    names = known[:MOST_PANELS]
    if not names:
        return None
    figure, axes = new_figure(len(names), across=3, width=3.3, height=2.2)
    for panel, name in zip(axes, names, strict=True):
        _curve(panel, stage.metrics, name, look)
        panel.set_title(measure_label(name), fontsize=9, color=INK, loc="left")
        whole_steps(panel)
        if name == "learning_rate":
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    for panel in axes[-3:]:
        panel.set_xlabel("step")
    baseline = series(stage.metrics, BASELINE)
    if baseline.values:
        for panel, name in zip(axes, names, strict=True):
            if name.endswith(("accuracy", "accuracies")):
                panel.axhline(baseline.values[-1], color=INK, linewidth=1, linestyle=":", label="the longer wins")
                panel.legend(fontsize=7.5, frameon=False)
    left_out = f" {len(known) - MOST_PANELS} further metrics are in metrics.jsonl." if len(known) > MOST_PANELS else ""
    return render(figure, f"{stage.name}-training", f"Training of {stage.name}, by step.{left_out}")


def _curve(panel: Axes, records: Sequence[Mapping[str, float]], name: str, look: Look) -> None:
    training, held_out = series(records, name), series(records, HELD_OUT + name)
    if len(training.values) >= SMOOTHED_FROM:
        panel.plot(training.steps, training.values, color=look.color, alpha=0.25, linewidth=0.8)
    if training.values:
        label = "training" if held_out.values else None
        panel.plot(training.steps, smoothed(training.values), color=look.color, linewidth=1.6, label=label, marker=_dot(training))
    if held_out.values:
        panel.plot(held_out.steps, held_out.values, "o--", color=INK, linewidth=1, markersize=3.5, label="held out")
        panel.legend(fontsize=7.5, frameon=False)


def _dot(line: Series) -> str:
    """A line of one point is only seen with a marker."""
    return "o" if len(line.values) == 1 else ""


def gold_name(stage: Stage, rewards: Sequence[str]) -> str | None:
    """The reward to hold against the optimised one: the first of `rewards` that was measured and differs from it, else the first such."""
    if not series(stage.metrics, PROXY).values:
        return None
    measured = dict.fromkeys(name.removeprefix("rewards/") for record in stage.metrics for name in record if name.startswith("rewards/"))
    differing = [name for name in measured if _differs(stage.metrics, f"rewards/{name}")]
    return next((name for name in [*rewards, *differing] if name in differing), None)


def _differs(records: Sequence[Mapping[str, float]], name: str) -> bool:
    """Whether it was measured and is not the optimised reward under its own name."""
    return any(
        _has(record, name) and _has(record, PROXY) and not math.isclose(record[name], record[PROXY], abs_tol=1e-9) for record in records
    )


def proxy_and_gold(stage: Stage, look: Look, rewards: Sequence[str]) -> Picture | None:
    """The optimised reward and a gold one against the step and, where it was measured, the KL (Gao et al., 2022, arXiv:2210.10760)."""
    gold = gold_name(stage, rewards)
    if gold is None:
        return None
    by = [("step", "step"), *([(KL, measure_label(KL))] if series(stage.metrics, KL).values else [])]
    figure, axes = new_figure(len(by), across=2, width=4.8, height=3.1)
    for panel, (x, label) in zip(axes, by, strict=True):
        other = panel.twinx()
        style(other)
        other.grid(False)
        other.spines["right"].set_visible(True)
        for place, name, color, title in (
            (panel, PROXY, look.color, "optimised reward"),
            (other, f"rewards/{gold}", INK, f"{gold} (gold)"),
        ):
            _against(place, stage.metrics, x, name, color, dashed=place is other)
            place.set_ylabel(title, color=color)
        panel.set_xlabel(label)
        if x == "step":
            whole_steps(panel)
    caption = (
        f"Over-optimisation: the reward that {stage.name} optimises (left axis) and {gold} (right axis, dashed) on its rollouts. "
        "Where the first goes on rising and the second falls, the policy exploits the reward model."
    )
    return render(figure, f"{stage.name}-over-optimization", caption)


def _against(panel: Axes, records: Sequence[Mapping[str, float]], x: str, y: str, color: str, *, dashed: bool) -> None:
    """A reward over the steps as a line; over the KL as the smoothed path that training took."""
    kept = [record for record in records if _has(record, x) and _has(record, y)]
    xs, ys = [float(record[x]) for record in kept], [float(record[y]) for record in kept]
    if x == "step":
        panel.plot(xs, ys, color=color, alpha=0.2, linewidth=0.8)
    else:
        panel.plot(xs, ys, "s" if dashed else "o", color=color, alpha=0.25, markersize=2.5, markeredgewidth=0)
        xs = smoothed(xs)
    panel.plot(xs, smoothed(ys), color=color, linewidth=1.7, linestyle="--" if dashed else "-", marker="o" if len(xs) == 1 else "")
