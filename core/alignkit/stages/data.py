"""Reads the data that stages name: entries of the recipe, and what earlier stages wrote."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from alignkit.data.loading import Dataset, load
from alignkit.errors import UserError
from alignkit.models.shared import SharedBase
from alignkit.objective import DataKind
from alignkit.progress import ProgressOf, silent
from alignkit.recipe import DataEntry
from alignkit.registry import Format
from alignkit.run.folder import RunFolder


@dataclass(frozen=True)
class StageData:
    """The data of a run, by the names that its stages use.

    entries: the recipe's, with paths that can be opened. formats: those of plugins. progress: shows how much
    is read.
    """

    entries: Mapping[str, DataEntry]
    run: RunFolder
    base: SharedBase
    formats: Mapping[str, Format]
    note: Callable[[str], None]
    progress: ProgressOf = silent

    def load(
        self,
        name: str,
        kind: type[DataKind],
        max_length: int,
        room: int = 0,
        prompts: Collection[str] = (),
    ) -> Dataset:
        """Read, check and tokenize the data called `name`, and show what became of its rows.

        max_length: the most tokens of a prompt with its completion, of which `room` is left for one to be
        sampled. prompts: columns that hold other prompts for the same completions.
        """
        entry, where = self.entry(name), f"data.{name}"
        return self.load_entry(entry, kind, max_length, room, prompts, name=name, where=where)

    def load_entry(
        self,
        entry: DataEntry,
        kind: type[DataKind],
        max_length: int,
        room: int = 0,
        prompts: Collection[str] = (),
        *,
        name: str,
        where: str,
    ) -> Dataset:
        """Do the same for an entry that has no name in the recipe's data; messages call it `name`."""
        tokenization = self.base.tokenization(max_length, room)
        dataset = load(
            entry,
            kind,
            name=name,
            tokenization=tokenization,
            formats=self.formats,
            where=where,
            prompts=prompts,
            progress=self.progress(f"reading and tokenizing {name}"),
        )
        for line in dataset.report.lines():
            self.note(line)
        return dataset

    def entry(self, name: str) -> DataEntry:
        """Return the data entry called `name`, or one for what the stage of that name wrote."""
        if name in self.entries:
            return self.entries[name]
        rows = self.run.stage(name).data
        if rows is None:
            raise UserError(
                f"the stage {name!r} wrote no data",
                where=f"stages.{name}",
                hint="`on` takes data, a sample stage or a label stage.",
            )
        return DataEntry.model_validate({"path": str(rows)})
