"""Loads a recipe's data: rows become checked examples, examples become token groups, and a report says what
became of every row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from alignkit.data import reading
from alignkit.data.checking import Completions, Contradictions, Mismatch, adapt, needed, without_blank
from alignkit.data.formats import LAYOUTS, rename_hint
from alignkit.data.report import Report, Tally, enforce
from alignkit.errors import UserError
from alignkit.example import BadExample, Example, Group
from alignkit.objective import DataKind
from alignkit.registry import Format

if TYPE_CHECKING:
    from alignkit.data.tokenizing import Tokenization
    from alignkit.recipe import DataEntry


@dataclass(frozen=True)
class Dataset:
    """Checked examples as text and, in the same order, as tokens."""

    examples: list[Example]
    groups: list[Group]
    report: Report

    def __len__(self) -> int:
        return len(self.groups)


def load(
    spec: DataEntry,
    kind: type[DataKind],
    *,
    name: str,
    tokenization: Tokenization,
    formats: Mapping[str, Format] | None = None,
    where: str | None = None,
) -> Dataset:
    """Read the data that a recipe calls `name` as what an objective learns from.

    `formats` are the plugins', `where` is the data entry's key path, `data.NAME` unless given. Stops after
    `spec.limit` usable examples. Raises UserError, naming places, where the data cannot be found, is of the
    wrong kind, has no usable row, or has a bad one under `on_bad: error`.
    """
    loader = _Loader(spec, kind, where or f"data.{name}", tokenization, Tally(name))
    for place, row, example in reading.read_examples(spec, formats or {}, loader.where):
        loader.add(place, row, example)
        if spec.limit and len(loader.groups) == spec.limit:
            break
    return loader.finish()


@dataclass
class _Loader:
    """What `load` remembers from row to row. `mismatch`: the first of another kind."""

    spec: DataEntry
    kind: type[DataKind]
    where: str
    tokenization: Tokenization
    tally: Tally
    examples: list[Example] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    contradictions: Contradictions = field(default_factory=Contradictions)
    mismatch: tuple[str, Mapping[str, Any], str] | None = None
    mismatches: int = 0

    def add(self, place: str, row: Mapping[str, Any], example: Example | BadExample) -> None:
        self.tally.rows += 1
        try:
            if isinstance(example, BadExample):
                raise example
            shaped = self._shaped(example)
            if shaped is None:
                return
            group = self.tokenization.encode(shaped)
            if not issubclass(self.kind, Completions):  # only to be ranked, not to become a batch
                self._require_agreement(shaped, place)
        except Mismatch as reason:
            self.mismatch, self.mismatches = self.mismatch or (place, row, str(reason)), self.mismatches + 1
            self.tally.drop(str(reason), place)
        except BadExample as reason:
            self.tally.drop(str(reason), place)
        else:
            self.examples.append(shaped)
            self.groups.append(group)
            self.tally.keep(group)

    def _shaped(self, example: Example) -> Example | None:
        """Return the example as data of the kind; None where nothing is said in what is to be ranked."""
        if not issubclass(self.kind, Completions):
            return adapt(example, self.kind)
        kept = without_blank(example)
        self.tally.blank += len(example.completions) - len(kept.completions)
        return kept if kept.completions else None

    def _require_agreement(self, example: Example, place: str) -> None:
        """Refuse other columns than the examples before had, and a pair that contradicts an earlier pair."""
        self._same_columns(example, place)
        if "rank" in example.columns:
            self.contradictions.check(example)

    def _same_columns(self, example: Example, place: str) -> None:
        """Batches hold one number of each column for every completion, so all examples have the same
        columns.
        """
        differing = set(example.columns) ^ set(self.examples[0].columns) if self.examples else set()
        if differing:
            raise UserError(
                f"some rows have a value for {', '.join(map(repr, sorted(differing)))} and some have none: "
                f"see {place}",
                where=self.where,
                hint="Give every row a value, or none.",
            )

    def finish(self) -> Dataset:
        report = self.tally.report()
        if issubclass(self.kind, Completions) and not self.groups and not report.dropped:
            raise UserError(
                "there is no completion to rank",
                where=self.where,
                hint="`label` takes a sample stage, or data with completions.",
            )
        if self.mismatch and not self.groups and self.mismatches > self.tally.rows / 2:
            raise self._wrong_kind(*self.mismatch)
        enforce(report, self.spec.on_bad, self.where)
        return Dataset(with_same_extra(self.examples), self.groups, report)

    def _wrong_kind(self, place: str, row: Mapping[str, Any], reason: str) -> UserError:
        need = needed(self.kind)
        layouts = [LAYOUTS[name].columns for name in need.formats]
        return UserError(
            f"the objective learns from {need.what}; found {reason} at {place}, whose columns are: "
            f"{', '.join(row)}",
            where=self.where,
            hint="\n".join(
                [
                    f"Columns that would do: {'; or '.join(map(', '.join, layouts))}.",
                    *rename_hint(row, layouts),
                ]
            ),
        )


def with_same_extra(examples: Sequence[Example]) -> list[Example]:
    """The examples with the same other columns each: None where a row had none, so that a batch's columns do
    not depend on its rows.
    """
    names = dict.fromkeys(name for example in examples for name in example.extra)
    return [
        example
        if len(example.extra) == len(names)
        else replace(example, extra={name: example.extra.get(name) for name in names})
        for example in examples
    ]
