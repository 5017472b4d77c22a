"""Makes the table of an evaluation: a line per target, each number with its interval over prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from alignkit.evaluation.measuring import measure
from alignkit.evaluation.statistics import bootstrap, win_rate
from alignkit.example import Text
from alignkit.measure import Metric, Samples
from alignkit.stages.context import RunContext
from alignkit.stages.evaluate.plan import PlannedEvaluation

Record: TypeAlias = dict[str, Any]
"""What is kept of a target by prompt: texts, tokens, finished, log_ratios, and scores by reward."""

WIN_RATE = "win_rate/"


def measures_of(stage: PlannedEvaluation, context: RunContext) -> dict[str, Metric]:
    """Return the label and unit of each column of the table."""
    against = stage.settings.against
    rewards = [reward.name for reward in stage.rewards]
    return {
        **{name: Metric(name) for name in rewards},
        **{f"{WIN_RATE}{name}": Metric(f"win rate against {against}, {name}") for name in rewards},
        **{name: context.registry.measures.get(name).metric for name in stage.measures},
    }


def make_table(
    stage: PlannedEvaluation, prompts: Sequence[Text], records: Mapping[str, Record], context: RunContext
) -> dict[str, dict[str, Any]]:
    """Return, for each target, its rewards, its win rates and every measure as intervals."""
    against = records[stage.settings.against]
    return {
        name: _row(stage, prompts, record, None if record is against else against, context)
        for name, record in records.items()
    }


def _row(
    stage: PlannedEvaluation,
    prompts: Sequence[Text],
    record: Record,
    against: Record | None,
    context: RunContext,
) -> dict[str, Any]:
    rewards = [reward.name for reward in stage.rewards]
    row: dict[str, list[float | None]] = {
        name: [_mean(values) for values in record["scores"][name]] for name in rewards
    }
    if against is not None:
        for name in rewards:
            row[f"{WIN_RATE}{name}"] = [*win_rate(record["scores"][name], against["scores"][name])]
    samples = Samples(prompts, record["texts"], record["tokens"], record["finished"], record["log_ratios"])
    for name in stage.measures:
        row[name] = measure(context.registry.measures.get(name), samples)
    return {name: bootstrap(values, seed=context.seed).to_dict() for name, values in row.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def means_of(targets: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return the means of a table of intervals."""
    return {
        name: {measure: interval["mean"] for measure, interval in row.items()}
        for name, row in targets.items()
    }
