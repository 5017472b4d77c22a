"""Draws the samples of a batch of rollouts, round by round, and keeps them on disk as they are drawn.

A round takes the next prompts of the order. Where the objective refuses prompts, another round takes others
in their place. Which prompts a batch gets depends on the seed and on the batches before it, of which each
line on disk tells the place in the order. So a run that was killed goes on with the same prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alignkit.data.loading import Dataset
from alignkit.data.order import epoch_order, steps_per_epoch
from alignkit.errors import UserError
from alignkit.example import Example, Group, Text
from alignkit.models.base import Base
from alignkit.objective import DATA
from alignkit.progress import ProgressOf, silent
from alignkit.sampler import Drawn, Sampler, Sampling
from alignkit.sampling.checking import draw
from alignkit.sampling.decoding import decode
from alignkit.training.rollout_files import RolloutFiles

LOGPS, SOURCE, POSITION, ROUND = "logps", "sources", "position", "round"


@dataclass(frozen=True)
class DrawnSamples:
    """Samples by prompt, as text and as tokens.

    logps: [prompt][sample], the sampler's numbers, one per token; empty for a completion of the data.
    sources: [prompt][sample], the place of its role among the sources.
    """

    examples: list[Example]
    groups: list[Group]
    logps: list[list[list[float]]]
    sources: list[list[int]]

    def __add__(self, other: DrawnSamples) -> DrawnSamples:
        return DrawnSamples(
            self.examples + other.examples,
            self.groups + other.groups,
            self.logps + other.logps,
            self.sources + other.sources,
        )

    def __len__(self) -> int:
        return len(self.examples)


class RoundDrawer:
    """Draws rounds of samples for the batches of an objective.

    sources: how many completions of a prompt come from which role, or from the data. under: of each role that
    writes after another prompt, the data's column that holds it. files: where samples are kept.
    """

    def __init__(
        self,
        prompts: Dataset,
        sampler: Sampler,
        base: Base,
        *,
        sampling: Sampling,
        sources: dict[str, int],
        under: Mapping[str, str],
        files: RolloutFiles,
        seed: int,
        batch_size: int,
        progress: ProgressOf = silent,
    ) -> None:
        self.prompts, self.sampler, self.base, self.sampling = prompts, sampler, base, sampling
        self.sources, self.under, self.files = sources, under, files
        self.seed, self.batch_size, self.progress = seed, batch_size, progress

    def first_round(self, number: int) -> DrawnSamples:
        """Return the samples of the prompts that batch `number` has where none is refused."""
        count = len(self.prompts)
        epoch, place = divmod(number, steps_per_epoch(count, self.batch_size))
        start = epoch * count + place * self.batch_size
        end = min(start + self.batch_size, (epoch + 1) * count)
        return self.round(number, 0, range(start, end))

    def next_round(self, number: int, at: int, wanted: int) -> DrawnSamples:
        """Return the samples of the next `wanted` prompts of the order, in round `at` of batch `number`.

        A prompt is in a batch once, so there are fewer where all prompts were tried.
        """
        records = self._records(number)
        before = records if at else self._records(number - 1) if number else []
        if number and not before:
            raise UserError(
                f"the samples of batch {number} are missing, which tell where the next one begins",
                where=str(self.files.folder),
                hint="Move the stage's folder away and run the same command: the stage is done again.",
            )
        position = before[-1][POSITION] + 1 if before else 0
        tried = {self._place(record[POSITION]) for record in records if record[ROUND] < at}
        positions: list[int] = []
        while len(positions) < wanted and len(tried) < len(self.prompts):
            place = self._place(position)
            if place not in tried:
                positions.append(position)
                tried.add(place)
            position += 1
        return self.round(number, at, positions)

    def round(self, number: int, at: int, positions: Sequence[int]) -> DrawnSamples:
        """Return the samples of the prompts at `positions` of the order; those of a killed run are read."""
        records = self._records(number)
        own = [record for record in records if record[ROUND] == at]
        if not own and positions:
            places = [self._place(position) for position in positions]
            own = self._sample(number, at, positions, places)
            self.files.write_samples(number, [*records, *own])
        places = [self._place(record[POSITION]) for record in own]
        pairs = list(zip(own, places, strict=True))
        return DrawnSamples(
            [_text_of(record, self.prompts.examples[place]) for record, place in pairs],
            [_tokens_of(record, self.prompts.groups[place]) for record, place in pairs],
            [record[LOGPS] for record in own],
            [record[SOURCE] for record in own],
        )

    def _records(self, number: int) -> list[dict[str, Any]]:
        return self.files.read_samples(number) or []

    def _place(self, position: int) -> int:
        """Return the place among the prompts of a position in the order, which goes on over the epochs."""
        epoch, place = divmod(position, len(self.prompts))
        return epoch_order(self.seed, epoch, len(self.prompts))[place]

    def _sample(
        self, number: int, at: int, positions: Sequence[int], places: list[int]
    ) -> list[dict[str, Any]]:
        """Sample completions of the prompts at `places` from each source, and decode them."""
        prompts = [
            replace(self.prompts.groups[place], completions=(), columns={}, masks=None) for place in places
        ]
        examples = [replace(self.prompts.examples[place], completions=(), columns={}) for place in places]
        found: list[dict[str, Any]] = [
            _record(example, position, at) for example, position in zip(examples, positions, strict=True)
        ]
        for which, (source, count) in enumerate(self.sources.items()):
            if source == DATA:
                parts = [self._of_data(place, count) for place in places]
            else:
                drawn = self._draw(source, which, prompts, count, number, places)
                parts = _decoded(self.base, examples, prompts, drawn)
            for record, part in zip(found, parts, strict=True):
                _append(record, part, which)
        return found

    def _draw(
        self, role: str, which: int, prompts: list[Group], count: int, number: int, places: list[int]
    ) -> list[list[Drawn]]:
        settings = replace(
            self.sampling, step=number, per_prompt=count, seed=_seed(self.sampling.seed, which)
        )
        column = self.under.get(role)
        read = prompts if column is None else [group.under(column) for group in prompts]
        return draw(
            self.sampler,
            role,
            [group.prompt for group in read],
            settings,
            numbers=places,
            progress=self.progress("sampling"),
        )

    def _of_data(self, place: int, count: int) -> _Samples:
        """Return completions of the data."""
        example, group = self.prompts.examples[place], self.prompts.groups[place]
        if len(group.completions) < count:
            raise UserError(
                f"a prompt has {len(group.completions)} completions in the data; the objective takes {count}",
                hint="`samples_from` of the objective says how many completions of the data it needs.",
            )
        finished = group.columns.get("finished", (1.0,) * count)
        return _Samples(
            example.completions[:count],
            group.completions[:count],
            tuple(map(bool, finished[:count])),
            tuple([] for _ in range(count)),
        )


@dataclass(frozen=True)
class _Samples:
    """Completions of one prompt from one source."""

    texts: Sequence[Text]
    tokens: Sequence[list[int]]
    finished: Sequence[bool]
    logps: Sequence[list[float]]


def _seed(seed: int, source: int) -> int:
    """Return the seed of a source's samples: with equal seeds, two roles would draw alike."""
    return seed if source == 0 else int(np.random.SeedSequence([seed, source]).generate_state(1)[0])


def _decoded(
    base: Base, examples: list[Example], prompts: list[Group], drawn: Sequence[Sequence[Drawn]]
) -> list[_Samples]:
    texts, tokens = decode(base, examples, prompts, drawn)
    return [
        _Samples(
            example.completions,
            group.completions,
            tuple(sample.finished for sample in samples),
            tuple(sample.logps for sample in samples),
        )
        for example, group, samples in zip(texts, tokens, drawn, strict=True)
    ]


def _record(example: Example, position: int, at: int) -> dict[str, Any]:
    """Begin a prompt's line for people to read, and for a killed run to go on with."""
    lists: dict[str, list[Any]] = {name: [] for name in ("completions", "finished", "tokens", LOGPS, SOURCE)}
    return {"prompt": example.prompt, POSITION: position, ROUND: at, **lists}


def _append(record: dict[str, Any], samples: _Samples, source: int) -> None:
    record["completions"] += samples.texts
    record["finished"] += map(bool, samples.finished)
    record["tokens"] += samples.tokens
    record[LOGPS] += samples.logps
    record[SOURCE] += [source] * len(samples.tokens)


def _text_of(record: dict[str, Any], prompt: Example) -> Example:
    finished = {"finished": tuple(map(float, record["finished"]))}
    return replace(prompt, completions=tuple(record["completions"]), columns=finished)


def _tokens_of(record: dict[str, Any], prompt: Group) -> Group:
    """Return a prompt's samples as tokens; the data's own completions keep their masks."""
    finished = {"finished": tuple(map(float, record["finished"]))}
    tokens, masks = tuple(record["tokens"]), None
    if prompt.masks is not None:
        of_data = dict(zip(map(tuple, prompt.completions), prompt.masks, strict=True))
        masks = tuple(of_data.get(tuple(one), (True,) * len(one)) for one in tokens)
    return replace(prompt, completions=tokens, columns=finished, masks=masks)
