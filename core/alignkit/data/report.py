"""Reports what became of the rows: how many are usable, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alignkit.errors import UserError
from alignkit.example import BadExample, Group


@dataclass(frozen=True)
class Dropped:
    """How many rows were dropped for one reason, and the place of the first."""

    count: int
    first: str


@dataclass(frozen=True)
class Report:
    """What became of the rows of one data set.

    completions, prompt_tokens and completion_tokens count usable examples. Tokens are counted after
    truncation, and those of a prompt once for all its completions. truncated: the prompts that lost their
    beginning. dropped: for each reason, the rows that cannot be used. blank: the blank completions that were
    left out of data to rank. unlearned: the completion tokens that are not the policy's. reserved: columns of
    numbers whose names mean something else in a batch. left_out: for each other column of numbers that is not
    in the batch, the reason.
    """

    name: str
    rows: int
    examples: int
    completions: int
    prompt_tokens: int
    completion_tokens: int
    truncated: int
    dropped: Mapping[str, Dropped] = field(default_factory=dict)
    blank: int = 0
    unlearned: int = 0
    reserved: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Write the report as text, to show before training."""
        completions = f"{self.completions:,} completions, " if self.completions else ""
        lines = [
            f"{self.name}: {self.examples:,} of {self.rows:,} rows usable; {completions}"
            f"{self.prompt_tokens:,} prompt tokens, {self.completion_tokens:,} completion tokens"
        ]
        if self.truncated:
            lines.append(f"  {self.truncated:,} prompts lost their beginning to fit the maximum length")
        if self.unlearned:
            lines.append(f"  {self.unlearned:,} completion tokens are of other turns than the assistant's")
        if self.reserved:
            names = ", ".join(map(repr, self.reserved))
            lines.append(f"  not read as numbers, because a batch uses these names otherwise: {names}")
        return [*lines, *(f"  {line}" for line in self.dropped_lines())]

    def dropped_lines(self) -> list[str]:
        """Write one line per reason, the most frequent first."""
        ordered = sorted(self.dropped.items(), key=lambda item: -item[1].count)
        return [
            f"{dropped.count:,} dropped: {reason} (first at {dropped.first})" for reason, dropped in ordered
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return asdict(self)


@dataclass
class Tally:
    """Counts rows while they are read. Its counts are those of `Report`."""

    name: str
    rows: int = 0
    truncated: int = 0
    examples: int = 0
    completions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)
    blank: int = 0
    unlearned: int = 0
    reserved: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    def drop(self, reason: BadExample, place: str) -> None:
        """Count a row that cannot be used."""
        earlier = self.dropped.get(str(reason))
        first = f"{place}: {reason.detail}" if reason.detail else place
        self.dropped[str(reason)] = (
            Dropped(earlier.count + 1, earlier.first) if earlier else Dropped(1, first)
        )

    def keep(self, group: Group) -> None:
        """Count a usable example."""
        self.examples += 1
        self.truncated += group.truncated
        self.completions += len(group.completions)
        self.prompt_tokens += len(group.prompt)
        self.completion_tokens += sum(map(len, group.completions))
        self.unlearned += sum(mask.count(False) for mask in group.masks or ())

    def report(self) -> Report:
        """Return the report of the rows so far."""
        return Report(**{**vars(self), "dropped": dict(self.dropped), "left_out": dict(self.left_out)})


def enforce(report: Report, on_bad: str, where: str) -> None:
    """Raise UserError where `on_bad` is "error" and a row was dropped, or where no row is usable.

    The message lists every reason. `where` is the key path of the data entry.
    """
    reasons = [f"  {line}" for line in report.dropped_lines()]
    if report.dropped and on_bad == "error":
        count = sum(dropped.count for dropped in report.dropped.values())
        raise UserError(
            f"{count:,} of {report.rows:,} rows cannot be used",
            where=where,
            hint="\n".join([*reasons, "Fix them, or set `on_bad: skip` to leave them out."]),
        )
    if not report.examples:
        raise UserError(
            f"none of {report.rows:,} rows can be used",
            where=where,
            hint="\n".join(reasons) or "The data is empty.",
        )
