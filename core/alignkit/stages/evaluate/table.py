"""Makes the table of an evaluation: a row for each target, each number with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from alignkit.evaluation.measuring import measure
from alignkit.evaluation.statistics import bootstrap, over_seeds, win_rate
from alignkit.example import Text
from alignkit.measure import Metric, Samples
from alignkit.stages.context import RunContext
from alignkit.stages.evaluate.plan import PlannedEvaluation
from alignkit.stages.evaluate.rows import Contestant, Row

Record: TypeAlias = dict[str, Any]
"""What is kept of a contestant by prompt: texts, tokens, finished, log_ratios, and scores by reward."""

Values: TypeAlias = dict[str, list[float | None]]
"""For each measure one number per prompt."""

Intervals: TypeAlias = dict[str, dict[str, float | None]]
"""For each measure a mean with its interval: `mean`, `low`, `high`, `count`."""

GAIN, WIN_RATE = "gain/", "win_rate/"


@dataclass(frozen=True)
class Table:
    """The measured intervals of an evaluation.

    targets: by row; over prompts, and over seeds where the row has several. each: for every row with seeds
    the intervals of each seed, over prompts alone.
    """

    targets: dict[str, Intervals] = field(default_factory=dict)
    each: dict[str, dict[str, Intervals]] = field(default_factory=dict)

    def add(self, row: Row, found: Sequence[Values], seed: int) -> None:
        """Add a row. found: the values of each of its contestants. seed: that of the bootstrap."""
        self.targets[row.name] = {
            name: over_seeds([values[name] for values in found], seed=seed).to_dict() for name in found[0]
        }
        if row.seeds > 1:
            self.each[row.name] = {
                contestant.name: {
                    name: bootstrap(of_prompts, seed=seed).to_dict() for name, of_prompts in values.items()
                }
                for contestant, values in zip(row.contestants, found, strict=True)
            }

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `each` only where a row has seeds."""
        return {"targets": self.targets, **({"each": self.each} if self.each else {})}

    def labelled(self, rows: Sequence[Row]) -> dict[str, Intervals]:
        """Return the rows by their names for people, which tell the number of seeds."""
        return {row.label: self.targets[row.name] for row in rows}


def measures_of(stage: PlannedEvaluation, context: RunContext) -> dict[str, Metric]:
    """Return the label and unit of each column of the table."""
    against = stage.settings.against
    rewards = [reward.name for reward in stage.rewards]
    return {
        **{name: Metric(name) for name in rewards},
        **{f"{GAIN}{name}": Metric(f"gain over {against}, {name}") for name in rewards},
        **{f"{WIN_RATE}{name}": Metric(f"win rate against {against}, {name}") for name in rewards},
        **{name: context.registry.measures.get(name).metric for name in stage.measures},
    }


def make_table(
    stage: PlannedEvaluation, prompts: Sequence[Text], records: Mapping[str, Record], context: RunContext
) -> Table:
    """Return, for each target, its rewards, gains, win rates and every measure as intervals.

    records: by the names of the contestants.
    """
    table = Table()
    for row in stage.rows:
        found = [_values(stage, prompts, contestant, records, context) for contestant in row.contestants]
        table.add(row, found, context.seed)
    return table


def _values(
    stage: PlannedEvaluation,
    prompts: Sequence[Text],
    contestant: Contestant,
    records: Mapping[str, Record],
    context: RunContext,
) -> Values:
    """Return what is measured of a contestant.

    A gain is the mean score of a prompt's completions less that of the completions of the same prompt by the
    stage `against`: its interval is narrower than those of the two means, which vary with the prompts.
    """
    record = records[contestant.name]
    rewards = [reward.name for reward in stage.rewards]
    values: Values = {name: _means(record, name) for name in rewards}
    if not contestant.is_reference:
        against = records[contestant.against]
        for name in rewards:
            values[f"{GAIN}{name}"] = _differences(values[name], _means(against, name))
        for name in rewards:
            values[f"{WIN_RATE}{name}"] = [*win_rate(record["scores"][name], against["scores"][name])]
    samples = Samples(prompts, record["texts"], record["tokens"], record["finished"], record["log_ratios"])
    for name in stage.measures:
        values[name] = measure(context.registry.measures.get(name), samples)
    return values


def _means(record: Record, reward: str) -> list[float | None]:
    """Return the mean score of each prompt's completions; None where the reward abstained from all."""
    known = [[score for score in scores if score is not None] for scores in record["scores"][reward]]
    return [sum(scores) / len(scores) if scores else None for scores in known]


def _differences(ours: Sequence[float | None], theirs: Sequence[float | None]) -> list[float | None]:
    return [
        None if one is None or other is None else one - other for one, other in zip(ours, theirs, strict=True)
    ]


def means_of(targets: Mapping[str, Intervals]) -> dict[str, dict[str, float | None]]:
    """Return the means of a table of intervals."""
    return {
        name: {measure: interval["mean"] for measure, interval in row.items()}
        for name, row in targets.items()
    }
