"""Keeps batches of rollouts on disk: samples as readable lines, what was prepared of them as tensors.

A batch's samples are written as soon as they are drawn, its tensors when it is prepared. A run that was
killed goes on with what it finds: nothing is sampled twice.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from alignkit.batch import Rollouts
from alignkit.errors import UserError
from alignkit.example import Group
from alignkit.rewards.scoring import Scores
from alignkit.run.files import STATE, TENSORS, find_damage, write_text, write_verified

SIGNAL, COLUMN = "signal/", "column/"


@dataclass(frozen=True)
class PreparedBatch:
    """Rollouts as `loss` gets them.

    prompts: the token ids of each prompt, which `rollouts.group` counts. groups: the completions by prompt,
    without prompts of which nothing was kept; members: for each group, the places of its completions in the
    tensors. metrics: of the batch. state: the objective's, after `prepare`.
    """

    rollouts: Rollouts
    prompts: list[list[int]]
    groups: tuple[Group, ...]
    members: tuple[Tensor, ...]
    metrics: dict[str, float]
    state: dict[str, float]


def prepared_batch(
    rollouts: Rollouts, prompts: list[list[int]], metrics: dict[str, float], state: dict[str, float]
) -> PreparedBatch:
    """Put the rollouts together by prompt."""
    groups, members = [], []
    for number in rollouts.group.unique().tolist():
        places = (rollouts.group == number).nonzero().squeeze(1)
        completions = tuple(rollouts.tokens[place][rollouts.mask[place]].tolist() for place in places)
        groups.append(Group(prompts[number], completions))
        members.append(places)
    return PreparedBatch(rollouts, prompts, tuple(groups), tuple(members), metrics, state)


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
            tensors["tokens"], tensors["mask"], tensors["group"], named[COLUMN], named[SIGNAL]
        )
        return prepared_batch(rollouts, about["prompts"], about["metrics"], about["state"])

    def write_batch(self, number: int, batch: PreparedBatch) -> None:
        """Write what was prepared of the batch."""
        rollouts = batch.rollouts
        tensors = {"tokens": rollouts.tokens, "mask": rollouts.mask, "group": rollouts.group}
        tensors |= {f"{SIGNAL}{name}": value for name, value in rollouts.signals.items()}
        tensors |= {f"{COLUMN}{name}": value for name, value in rollouts.columns.items()}
        about = {"prompts": batch.prompts, "metrics": batch.metrics, "state": batch.state}

        def write(place: Path) -> None:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, place / TENSORS)
            (place / STATE).write_text(json.dumps(about))

        write_verified(self.folder / f"{number:06d}", write)

    def forget_before(self, number: int) -> None:
        """Drop the tensors of earlier batches; their samples stay for people to read."""
        for place in self.folder.glob("*/"):
            if place.name.isdigit() and int(place.name) < number:
                shutil.rmtree(place)
