"""Loads a recipe's data: rows become checked examples as text and as tokens, with a report of every row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from alignkit.data.builtin_formats import BUILT_IN
from alignkit.data.checking import Completions, Mismatch, adapt, needed, without_blank
from alignkit.data.contradictions import Contradictions
from alignkit.data.formats import rename_hint
from alignkit.data.messages import is_blank, read_text
from alignkit.data.own_columns import KNOWN, OwnColumns, prompt_numbers, reserved_numbers
from alignkit.data.reading import read_examples
from alignkit.data.report import Report, Tally, enforce
from alignkit.errors import UserError
from alignkit.example import BadExample, Example, Group, Text
from alignkit.objective import DataKind, Prompts
from alignkit.progress import Progress
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
    entry: DataEntry,
    kind: type[DataKind],
    *,
    name: str,
    tokenization: Tokenization,
    formats: Mapping[str, Format] | None = None,
    where: str | None = None,
    prompts: Collection[str] = (),
    progress: Progress | None = None,
) -> Dataset:
    """Read the data that a recipe calls `name` as data of `kind`.

    `formats` are the plugins'. `where` is the key path of the data entry; None means `data.NAME`. `prompts`
    are columns that hold other prompts, text or messages, under which roles read the completions; a row
    without one of them cannot be used. `progress` counts rows. Reading stops after `entry.limit` usable
    examples. Raises UserError, which names the places, where the data cannot be found, is of the wrong kind,
    has no usable row, has a bad row under `on_bad: error`, or gives a column in some rows only.
    """
    loader = _Loader(entry, kind, where or f"data.{name}", tokenization, Tally(name), prompts)
    progress = progress or (lambda done, total: None)
    total = 0  # 0 means that it is not known

    def expect(rows: int) -> None:
        nonlocal total
        total = max(0, rows - entry.skip)

    for place, row, example in read_examples(entry, formats or {}, loader.where, expect):
        loader.add(place, row, example)
        if entry.limit and len(loader.groups) == entry.limit:
            break
        done, wanted = loader.tally.rows, total
        if entry.limit and not 0 < total <= entry.limit:
            done, wanted = len(loader.groups), entry.limit
        progress(done, wanted if done < wanted else 0)
    progress(loader.tally.rows, loader.tally.rows)
    return loader.finish()


@dataclass
class _Loader:
    """What `load` remembers from row to row.

    mismatch: the place, the row and the reason of the first example of another kind. mismatches: the number
    of all examples of another kind. places: those of the rows that were kept. reserved: columns of numbers
    whose names a batch uses otherwise.
    """

    entry: DataEntry
    kind: type[DataKind]
    where: str
    tokenization: Tokenization
    tally: Tally
    prompts: Collection[str]
    examples: list[Example] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    contradictions: Contradictions = field(default_factory=Contradictions)
    own: OwnColumns = field(default_factory=OwnColumns)
    reserved: set[str] = field(default_factory=set)
    mismatch: tuple[str, Mapping[str, Any], str] | None = None
    mismatches: int = 0

    def add(self, place: str, row: Mapping[str, Any], example: Example | BadExample) -> None:
        """Keep the row's example, or count the reason why it cannot be used."""
        self.tally.rows += 1
        try:
            if isinstance(example, BadExample):
                raise example
            if issubclass(self.kind, Completions):
                self._add_to_rank(example, row, place)
            else:
                self._add_to_batches(adapt(example, self.kind), row, place)
        except Mismatch as reason:
            self.mismatch, self.mismatches = self.mismatch or (place, row, str(reason)), self.mismatches + 1
            self.tally.drop(reason, place)
        except BadExample as reason:
            self.tally.drop(reason, place)

    def _add_to_rank(self, example: Example, row: Mapping[str, Any], place: str) -> None:
        """Keep the completions that are not blank; an example of blank ones is neither kept nor dropped."""
        kept = without_blank(example)
        self.tally.blank += len(example.completions) - len(kept.completions)
        if kept.completions:
            known = {name: values for name, values in kept.columns.items() if name in KNOWN}
            group = self.tokenization.encode(replace(kept, columns=known), self._other_prompts(row))
            self._keep(kept, group, place)

    def _add_to_batches(self, example: Example, row: Mapping[str, Any], place: str) -> None:
        """Keep the example if it agrees with the examples before it."""
        prompts = self._other_prompts(row)
        group = self.own.encode(example, lambda example: self.tokenization.encode(example, prompts), place)
        if issubclass(self.kind, Prompts):
            group = replace(group, prompt_columns=prompt_numbers(example.extra))
        self._require_same_columns(group, place)
        if "rank" in example.columns:
            self.contradictions.check(example)
        self.reserved |= reserved_numbers(example.extra)
        self._keep(example, group, place)

    def _keep(self, example: Example, group: Group, place: str) -> None:
        self.examples.append(example)
        self.groups.append(group)
        self.places.append(place)
        self.tally.keep(group)

    def _other_prompts(self, row: Mapping[str, Any]) -> dict[str, Text]:
        """Return the row's other prompts. Raises BadExample where one is missing or blank."""
        found = {column: read_text(row.get(column), column) for column in self.prompts}
        for column, text in found.items():
            if is_blank(text):
                raise BadExample(f"{column!r} is empty, which is the prompt of a role")
        return found

    def _require_same_columns(self, group: Group, place: str) -> None:
        """Raise UserError where the group has other columns of known meaning than the first one."""
        differing = KNOWN & (set(group.columns) ^ set(self.groups[0].columns)) if self.groups else set()
        if differing:
            raise UserError(
                f"some rows have a value for {', '.join(map(repr, sorted(differing)))} and some have none: "
                f"see {place}",
                where=self.where,
                hint="Give every row a value, or none.",
            )

    def finish(self) -> Dataset:
        """Return the data set, or raise the UserError that says why it cannot be used."""
        if not issubclass(self.kind, Completions):
            self.groups = self.own.settle(self.groups, self.places)
            self.tally.left_out, self.tally.reserved = self.own.left_out, tuple(sorted(self.reserved))
        report = self.tally.report()
        if issubclass(self.kind, Completions) and not self.groups and not report.dropped:
            raise UserError(
                "there is no completion to rank",
                where=self.where,
                hint="`label` takes a sample stage, or data with completions.",
            )
        if self.mismatch and not self.groups and self.mismatches > self.tally.rows / 2:
            raise self._wrong_kind(*self.mismatch)
        enforce(report, self.entry.on_bad, self.where)
        return Dataset(_with_same_extra(self._with_kept_columns()), self.groups, report)

    def _with_kept_columns(self) -> list[Example]:
        """Return the examples without the columns that are not in the batch."""
        return [replace(example, columns=self.own.kept(example.columns)) for example in self.examples]

    def _wrong_kind(self, place: str, row: Mapping[str, Any], reason: str) -> UserError:
        need = needed(self.kind)
        wanted = [BUILT_IN[name].columns for name in need.formats]
        fitting = f"Columns that would do: {'; or '.join(map(', '.join, wanted))}."
        return UserError(
            f"the objective learns from {need.what}; found {reason} at {place}, whose columns are: "
            f"{', '.join(row)}",
            where=self.where,
            hint="\n".join([fitting, *rename_hint(row, wanted)]),
        )


def _with_same_extra(examples: Sequence[Example]) -> list[Example]:
    """Return the examples with the same extra columns, filled with None where a row had none.

    The columns of a batch then do not depend on its rows.
    """
    names = dict.fromkeys(name for example in examples for name in example.extra)
    return [
        example
        if len(example.extra) == len(names)
        else replace(example, extra={name: example.extra.get(name) for name in names})
        for example in examples
    ]
