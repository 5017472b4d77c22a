"""Loads a recipe's data: rows become checked examples, examples become token groups, and a report says what became of every row."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.data import reading
from alignkit.data.checking import Contradictions, Mismatch, adapt, needed
from alignkit.data.example import BadExample, Example, Group
from alignkit.data.formats import LAYOUTS, Unrecognised, choose, parse, rename_hint
from alignkit.data.report import Report, Tally, enforce
from alignkit.errors import UserError
from alignkit.objective import Data as Kind
from alignkit.registry import Format

if TYPE_CHECKING:
    from alignkit.data.tokenizing import Tokenization
    from alignkit.recipe import Data


@dataclass(frozen=True)
class Dataset:
    """Checked examples as text and, in the same order, as tokens."""

    examples: list[Example]
    groups: list[Group]
    report: Report

    def __len__(self) -> int:
        return len(self.groups)


def load(
    spec: Data,
    kind: type[Kind],
    *,
    name: str,
    tokenization: Tokenization,
    formats: Mapping[str, Format] | None = None,
    where: str | None = None,
) -> Dataset:
    """Read the data that a recipe calls `name` as what an objective learns from.

    `formats` are the plugins', `where` is the data entry's key path, `data.NAME` unless given.
    Stops after `spec.limit` usable examples. Raises UserError, naming places, where the data cannot be found, is of the wrong kind, has
    no usable row, or has a bad one under `on_bad: error`.
    """
    loader = _Loader(spec, kind, where or f"data.{name}", tokenization, formats or {}, Tally(name))
    for place, row in reading.read_rows(spec, loader.where):
        loader.add(place, row)
        if spec.limit and len(loader.groups) == spec.limit:
            break
    return loader.finish()


@dataclass
class _Loader:
    """What `load` remembers from row to row. `recognised`: some row had a known format; `mismatch`: the first of the `mismatches` of another kind."""

    spec: Data
    kind: type[Kind]
    where: str
    tokenization: Tokenization
    formats: Mapping[str, Format]
    tally: Tally
    examples: list[Example] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    contradictions: Contradictions = field(default_factory=Contradictions)
    recognised: bool = False
    mismatch: tuple[str, Mapping[str, Any], str] | None = None
    mismatches: int = 0

    def add(self, place: str, row: dict[str, Any] | BadExample) -> None:
        self.tally.rows += 1
        try:
            if isinstance(row, BadExample):
                raise row
            example = self._example(row, place)
            group = self.tokenization.encode(example)
            self._same_columns(example, place)
            if "rank" in example.columns:
                self.contradictions.check(example)
        except Mismatch as reason:
            assert not isinstance(row, BadExample)
            self.mismatch, self.mismatches = self.mismatch or (place, row, str(reason)), self.mismatches + 1
            self.tally.drop(str(reason), place)
        except BadExample as reason:
            self.tally.drop(str(reason), place)
        else:
            self.examples.append(example)
            self.groups.append(group)
            self.tally.keep(group)

    def _example(self, row: dict[str, Any], place: str) -> Example:
        try:
            chosen = choose(row, self.spec.format, self.formats, place, self.where)
        except Unrecognised as error:
            if not self.recognised:
                raise
            raise BadExample("no format fits the row's columns") from error
        self.recognised = True
        return adapt(parse(chosen, row, place), self.kind)

    def _same_columns(self, example: Example, place: str) -> None:
        """Batches hold one number of each column for every completion, so all examples have the same columns."""
        differing = set(example.columns) ^ set(self.examples[0].columns) if self.examples else set()
        if differing:
            raise UserError(
                f"some rows have a value for {', '.join(map(repr, sorted(differing)))} and some have none: see {place}",
                where=self.where,
                hint="Give every row a value, or none.",
            )

    def finish(self) -> Dataset:
        report = self.tally.report()
        if self.mismatch and not self.groups and self.mismatches > self.tally.rows / 2:
            raise self._wrong_kind(*self.mismatch)
        enforce(report, self.spec.on_bad, self.where)
        return Dataset(self.examples, self.groups, report)

    def _wrong_kind(self, place: str, row: Mapping[str, Any], reason: str) -> UserError:
        need = needed(self.kind)
        layouts = [LAYOUTS[name].columns for name in need.formats]
        return UserError(
            f"the objective learns from {need.what}; found {reason} at {place}, whose columns are: {', '.join(row)}",
            where=self.where,
            hint="\n".join([f"Columns that would do: {'; or '.join(map(', '.join, layouts))}.", *rename_hint(row, layouts)]),
        )


def fingerprint(spec: Data) -> str:
    """SHA-256 of where the data comes from, how it is read, and, where it lies on this machine, of its contents."""
    digest = hashlib.sha256(spec.model_dump_json().encode())
    path = Path(spec.path).expanduser()
    if reading.is_local(spec.path) and path.exists():
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(f"\n{file.relative_to(path)}\n".encode())
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def split_held_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """The data in two, `share` of its prompts held out; no prompt's tokens occur on both sides. Both keep the order and the report.

    Raises UserError where `share` is not between 0 and 1, or where there are fewer than two different prompts.
    """
    if not 0 < share < 1:
        raise UserError(f"the held-out share lies between 0 and 1, found {share}", where="held_out")
    prompts = list(dict.fromkeys(tuple(group.prompt) for group in dataset.groups))
    if len(prompts) < 2:
        raise UserError("a share of one prompt cannot be held out", where="held_out", hint="Give more data, or held-out data of its own.")
    count = min(max(round(share * len(prompts)), 1), len(prompts) - 1)
    held = set(random.Random(seed).sample(prompts, count))
    out = [tuple(group.prompt) in held for group in dataset.groups]
    return _part(dataset, [not is_out for is_out in out]), _part(dataset, out)


def _part(dataset: Dataset, keep: list[bool]) -> Dataset:
    pick = [index for index, kept in enumerate(keep) if kept]
    return replace(dataset, examples=[dataset.examples[i] for i in pick], groups=[dataset.groups[i] for i in pick])
