"""Tells in words what an evaluation found: what is better than the reference, and what was answered."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from alignkit.example import Example, Text, text_of
from alignkit.stages.evaluate.plan import PlannedEvaluation
from alignkit.stages.evaluate.table import GAIN, Intervals, Record, Table

WIDTH = 100
LINES = 3
"""The most lines of a prompt or an answer."""


def verdicts(stage: PlannedEvaluation, table: Table) -> Iterator[str]:
    """Say of each target whether it is better than the reference, by the interval of its gain.

    It is by the first reward alone, and nothing is said without one.
    """
    if not stage.rewards:
        return
    reward = stage.rewards[0].name
    for row in stage.rows:
        found = table.targets[row.name]
        if f"{GAIN}{reward}" in found:
            yield f"{row.label}: {_verdict(found, table.targets[stage.settings.against], reward)}"


def _verdict(found: Intervals, against: Intervals, reward: str) -> str:
    gain = found[f"{GAIN}{reward}"]
    mean, low, high = gain["mean"], gain["low"], gain["high"]
    if mean is None:
        return f"{reward} scored no prompt of both, so nothing can be said"
    change = f"{reward} {_number(against[reward]['mean'])} → {_number(found[reward]['mean'])}"
    if low is None or high is None:
        return f"{change}, gain {mean:.2f}: not distinguishable here"
    word = "better" if low > 0 else "worse" if high < 0 else "not distinguishable here"
    return f"{change}, gain {mean:.2f} ({low:.2f}…{high:.2f}): {word}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def answers(
    stage: PlannedEvaluation, examples: Sequence[Example], records: Mapping[str, Record]
) -> Iterator[str]:
    """Show the first prompts with the first answer of each target, of its first seed where it has several.

    Nothing is chosen: these are the prompts with which the data begins. Beside an answer stands its score by
    the first reward.
    """
    count = min(stage.settings.show, len(examples))
    if not count:
        return
    reward = stage.rewards[0].name if stage.rewards else None
    told = f", with its score by {reward}" if reward else ""
    yield f"the first {count} of {len(examples)} prompts, and the first answer of each target{told}:"
    for place in range(count):
        yield from ("", *_beside("prompt", examples[place].prompt))
        for row in stage.rows:
            first = row.contestants[0].name
            record, name = records[first], first if row.seeds > 1 else row.name
            head = f"{name}  {_number(record['scores'][reward][place][0])}" if reward else name
            yield from _beside(head, record["texts"][place][0])


def _beside(head: str, text: Text) -> list[str]:
    """Write a text below its head, cut to a few lines, without what a terminal would obey."""
    plain = "".join(character if character.isprintable() else " " for character in text_of(text))
    lines = textwrap.wrap(plain, WIDTH, max_lines=LINES, placeholder=" …") or ["(nothing)"]
    return [f"  {head}", *(f"    {line}" for line in lines)]
