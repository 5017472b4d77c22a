"""Over-optimization: the reward that a stage was trained for beside one that was only watched (Gao et al.,
2022, arXiv:2210.10760).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alignkit.report.describing import measure_label
from alignkit.report.figures import INK, Look, Picture, new_figure, render, style, whole_steps
from alignkit.report.reading import Stage
from alignkit.report.training_pictures import KL, PROXY, has, series, smoothed, split_term, terms_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Records = Sequence[Mapping[str, float]]


def sampled(stage: Stage) -> Records:
    """The stage's metrics with those of the objective that samples under their plain names, and with the
    optimised reward as it is: the weighted sum of its parts where some were standardised, whose own sum has
    mean 0 in every batch. Empty without samples."""
    terms = terms_of(stage)
    prefix = next(
        (
            term
            for record in stage.metrics
            for term, bare in (split_term(name, terms) for name in record)
            if bare == PROXY
        ),
        None,
    )
    if prefix is None:
        return ()
    records = [
        {name.removeprefix(prefix): value for name, value in record.items()} for record in stage.metrics
    ]
    parts = _named(stage, "reward")
    if not any(part.get("standardize") for part in parts.values()):
        return records
    return [
        {
            **record,
            PROXY: sum(part.get("weight", 1) * record[f"rewards/{name}"] for name, part in parts.items()),
        }
        if all(has(record, f"rewards/{name}") for name in parts)
        else {name: value for name, value in record.items() if name != PROXY}
        for record in records
    ]


def gold_name(stage: Stage, rewards: Sequence[str]) -> str | None:
    """The watched reward to hold against the optimised one: the first of `rewards`, the order of an
    evaluation, else of the recipe.
    """
    watched = [name for name in _named(stage, "watch") if series(sampled(stage), f"rewards/{name}").values]
    return next((name for name in [*rewards, *watched] if name in watched), None)


def _named(stage: Stage, key: str) -> dict[str, Mapping[str, Any]]:
    """The rewards in one of the stage's settings, by name."""
    return {part["reward"]: part for part in stage.settings.get(key) or ()}


def proxy_and_gold(stage: Stage, look: Look, rewards: Sequence[str]) -> Picture | None:
    """The optimised reward and a watched one against the step and, where it was measured, the KL."""
    gold, records = gold_name(stage, rewards), sampled(stage)
    if gold is None:
        return None
    by = [("step", "step"), *([(KL, measure_label(KL))] if series(records, KL).values else [])]
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
            _against(place, records, x, name, color, dashed=place is other)
            place.set_ylabel(title, color=color)
        panel.set_xlabel(label)
        if x == "step":
            whole_steps(panel)
    caption = (
        f"Over-optimisation: the reward that {stage.name} optimises (left axis) and {gold} (right axis, "
        "dashed) on its rollouts. "
        "Where the first goes on rising and the second falls, the policy exploits the reward model."
    )
    return render(figure, f"{stage.name}-over-optimization", caption)


def _against(panel: Axes, records: Records, x: str, y: str, color: str, *, dashed: bool) -> None:
    """A reward over the steps as a line; over the KL as the smoothed path that training took."""
    kept = [record for record in records if has(record, x) and has(record, y)]
    xs, ys = [float(record[x]) for record in kept], [float(record[y]) for record in kept]
    if x == "step":
        panel.plot(xs, ys, color=color, alpha=0.2, linewidth=0.8)
    else:
        panel.plot(xs, ys, "s" if dashed else "o", color=color, alpha=0.25, markersize=2.5, markeredgewidth=0)
        xs = smoothed(xs)
    panel.plot(
        xs,
        smoothed(ys),
        color=color,
        linewidth=1.7,
        linestyle="--" if dashed else "-",
        marker="o" if len(xs) == 1 else "",
    )
