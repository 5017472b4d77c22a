"""Keeps batches of rollouts on disk: samples as readable lines, what was prepared of them as tensors.

A batch's samples are written as soon as they are drawn, its tensors when it is prepared. A run that was
killed goes on with what it finds: nothing is sampled twice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from alignkit.batch import Prompt
from alignkit.errors import UserError
from alignkit.example import Column, Group
from alignkit.rewards.scoring import Scores
from alignkit.rollouts import Rollouts
from alignkit.run.files import STATE, TENSORS, find_damage, write_text, write_verified

SIGNAL, COLUMN = "signal/", "column/"


@dataclass(frozen=True)
class PreparedBatch:
    """Rollouts as `loss` gets them.

    groups: the completions by prompt, without prompts of which nothing was kept; members: for each group, the
    places of its completions in the tensors. metrics: of the batch. state: the objective's, after `prepare`.
    """

    rollouts: Rollouts
    groups: tuple[Group, ...]
    members: tuple[Tensor, ...]
    metrics: dict[str, float]
    state: dict[str, float]


def prepared_batch(rollouts: Rollouts, metrics: dict[str, float], state: dict[str, float]) -> PreparedBatch:
    """Put the rollouts together by prompt. A completion ends with the last token that its mask marks."""
    groups, members = [], []
    for number in rollouts.group.unique().tolist():
        places = (rollouts.group == number).nonzero().squeeze(1)
        ends = [int(rollouts.mask[place].nonzero().max()) + 1 for place in places]
        cut = [(place, slice(end)) for place, end in zip(places, ends, strict=True)]
        completions = tuple(rollouts.tokens[place][part].tolist() for place, part in cut)
        masks = tuple(tuple(rollouts.mask[place][part].tolist()) for place, part in cut)
        prompt = rollouts.prompts[number]
        columns = {name: _entries(column, cut) for name, column in rollouts.columns.items()}
        groups.append(
            Group(prompt.tokens, completions, columns, masks=masks, prompts=prompt.others, text=prompt.text)
        )
        members.append(places)
    return PreparedBatch(rollouts, tuple(groups), tuple(members), metrics, state)


def _entries(column: Tensor, cut: Sequence[tuple[Tensor, slice]]) -> Column:
    """Return a column, (N,) or (N, T), of the completions at some places, each up to its end."""
    if column.dim() == 1:
        return tuple(float(column[place]) for place, _ in cut)
    return tuple(tuple(column[place][part].tolist()) for place, part in cut)


class RolloutFiles:
    """Keeps an objective's rollouts in `folder`: of batch n the files `n.jsonl` and `n.scores.json`, and the
    folder `n`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read_samples(self, number: int) -> list[dict[str, Any]] | None:
        """Return the batch's samples, one mapping per prompt, or None where they were not drawn yet."""
        file = self.folder / f"{number:06d}.jsonl"
        if not file.is_file():
            return None
        with file.open(encoding="utf-8") as lines:  # `splitlines` would cut texts at other characters too
            return [json.loads(line) for line in lines]

    def write_samples(self, number: int, samples: list[dict[str, Any]]) -> None:
        """Write the batch's samples, one line per prompt."""
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in samples)
        write_text(self.folder / f"{number:06d}.jsonl", text)

    def read_scores(self, number: int) -> Scores | None:
        """Return the scores of the batch's samples, or None where they were not scored yet."""
        file = self._scores(number)
        return Scores(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    def write_scores(self, number: int, scores: Scores) -> None:
        """Write the scores of the batch's samples."""
        write_text(self._scores(number), json.dumps(asdict(scores), ensure_ascii=False) + "\n")

    def _scores(self, number: int) -> Path:
        return self.folder / f"{number:06d}.scores.json"

    def read_batch(self, number: int) -> PreparedBatch | None:
        """Return what was prepared of the batch, or None. Raises UserError where its files are damaged."""
        place = self.folder / f"{number:06d}"
        if not place.exists():
            return None
        damage = find_damage(place)
        if damage:  # its log-probabilities are those of the weights at sampling, which may be gone
            raise UserError(
                f"these rollouts are damaged: {damage}",
                where=str(place),
                hint="Move the stage's folder away and run the same command: "
                "the stage is done again from its beginning.",
            )
        tensors, about = load_file(place / TENSORS), json.loads((place / STATE).read_text())
        named = {
            kind: {key.removeprefix(kind): value for key, value in tensors.items() if key.startswith(kind)}
            for kind in (SIGNAL, COLUMN)
        }
        rollouts = Rollouts(
            tensors["tokens"],
            tensors["mask"],
            tensors["group"],
            named[COLUMN],
            named[SIGNAL],
            tuple(Prompt(**prompt) for prompt in about["prompts"]),
            sources=tuple(about["sources"]),
        )
        return prepared_batch(rollouts, about["metrics"], about["state"])

    def write_batch(self, number: int, batch: PreparedBatch) -> None:
        """Write what was prepared of the batch."""
        rollouts = batch.rollouts
        tensors = {"tokens": rollouts.tokens, "mask": rollouts.mask, "group": rollouts.group}
        tensors |= {f"{SIGNAL}{name}": value for name, value in rollouts.signals.items()}
        tensors |= {f"{COLUMN}{name}": value for name, value in rollouts.columns.items()}
        about = {
            "prompts": [asdict(prompt) for prompt in rollouts.prompts],
            "sources": rollouts.sources,
            "metrics": batch.metrics,
            "state": batch.state,
        }

        def write(place: Path) -> None:
            # `prepare` may give one tensor two names; safetensors takes no two that share memory
            save_file(
                {name: tensor.contiguous().clone() for name, tensor in tensors.items()}, place / TENSORS
            )
            (place / STATE).write_text(json.dumps(about))

        write_verified(self.folder / f"{number:06d}", write)

    def forget_before(self, number: int) -> None:
        """Drop the tensors of earlier batches; their samples stay for people to read."""
        for place in self.folder.glob("*/"):
            if place.name.isdigit() and int(place.name) < number:
                shutil.rmtree(place)
