"""Loads a recipe's data: rows become checked examples, examples become token groups, and a report says what
became of every row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.data import reading
from alignkit.data.checking import Contradictions, Mismatch, adapt, needed
from alignkit.data.formats import LAYOUTS, rename_hint
from alignkit.data.report import Report, Tally, enforce
from alignkit.errors import UserError
from alignkit.example import BadExample, Example, Group, text_of
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
            example = adapt(example, self.kind)
            group = self.tokenization.encode(example)
            self._same_columns(example, place)
            if "rank" in example.columns:
                self.contradictions.check(example)
        except Mismatch as reason:
            self.mismatch, self.mismatches = self.mismatch or (place, row, str(reason)), self.mismatches + 1
            self.tally.drop(str(reason), place)
        except BadExample as reason:
            self.tally.drop(str(reason), place)
        else:
            self.examples.append(example)
            self.groups.append(group)
            self.tally.keep(group)

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


def fingerprint(spec: DataEntry) -> str:
    """SHA-256 of the data and how it is read: where it lies on this machine of its contents, wherever that
    is, else of its name.
    """
    path = Path(spec.path).expanduser()
    if not reading.is_local(spec.path) or not path.exists():
        return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()
    digest = hashlib.sha256(spec.model_dump_json(exclude={"path"}).encode())
    if path.is_file():
        digest.update(Path(path.name.removesuffix(".gz")).suffix.encode())  # which decides on the reader
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(f"\n{file.relative_to(path)}\n".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def split_held_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """The data in two, about `share` of its prompts held out; none is on both sides, as text or as tokens.
    Both keep order and report.

    Each prompt is drawn by itself, a function of (seed, text), so that it falls on the same side in every
    stage of a recipe, whatever rows a stage leaves out, and a larger share holds out all that a smaller one
    does. Two things can move a prompt: prompts that truncation made equal stay together, and where all fall
    on one side, the one nearest to the other goes there. Raises UserError where `share` is not between 0 and
    1, or where there are fewer than two different prompts.
    """
    if not 0 < share < 1:
        raise UserError(f"the held-out share lies between 0 and 1, found {share}", where="held_out")
    prompts = _prompt_texts(dataset)
    drawn = {text: _draw(seed, text) for text in prompts}
    if len(drawn) < 2:
        raise UserError(
            "a share of one prompt cannot be held out",
            where="held_out",
            hint="Give more data, or held-out data of its own.",
        )
    held = {text for text in drawn if drawn[text] < share} or {min(drawn, key=drawn.__getitem__)}
    if len(held) == len(drawn):
        held.remove(max(drawn, key=drawn.__getitem__))
    return _part(dataset, [text not in held for text in prompts]), _part(
        dataset, [text in held for text in prompts]
    )


def _draw(seed: int, text: str) -> float:
    """Uniform in [0, 1), from the seed and the text alone."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\n{text}".encode(), digest_size=8).digest()) / 2**64


def _prompt_texts(dataset: Dataset) -> list[str]:
    """Each group's prompt as text, conversation or not. Prompts with the same tokens have the same: the least
    of their texts.
    """
    texts = [text_of(example.prompt).strip() for example in dataset.examples]
    # a text's nearest smaller one of the same prompt, itself where there is none
    least = {text: text for text in texts}
    first: dict[tuple[int, ...], str] = {}

    def find(text: str) -> str:
        while least[text] != text:
            least[text] = text = least[least[text]]
        return text

    for text, group in zip(texts, dataset.groups, strict=True):
        one, other = sorted((find(text), find(first.setdefault(tuple(group.prompt), text))))
        least[other] = one
    return [find(text) for text in texts]


def _part(dataset: Dataset, keep: list[bool]) -> Dataset:
    pick = [index for index, kept in enumerate(keep) if kept]
    return replace(
        dataset, examples=[dataset.examples[i] for i in pick], groups=[dataset.groups[i] for i in pick]
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
