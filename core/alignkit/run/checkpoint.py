"""Keeps the checkpoints of a training stage.

A checkpoint is a folder `step-N` with `tensors.safetensors`, `state.json` and `manifest.json`, which has the
SHA-256 of both. It is written beside its place, synced and then renamed, so it is either absent or whole. A
checkpoint that was damaged later is named and removed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.run.files import (
    STATE,
    TENSORS,
    disk_errors,
    find_damage,
    write_verified,
)


@dataclass(frozen=True)
class Checkpoint:
    """What a resumed run needs: tensors by name, and numbers."""

    step: int
    tensors: dict[str, Any]
    state: dict[str, Any]


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Return the place of the checkpoint after `step` among a stage's checkpoints."""
    return folder / f"step-{step:08d}"


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> int:
    """Write `folder/step-N` atomically, then drop all but the newest `keep`.

    Return the step of the oldest checkpoint that is kept.
    """
    from safetensors.torch import save_file

    def write(place: Path) -> None:
        save_file(checkpoint.tensors, place / TENSORS)
        (place / STATE).write_text(json.dumps({"step": checkpoint.step, **checkpoint.state}))

    write_verified(checkpoint_folder(folder, checkpoint.step), write)
    places = sorted(folder.glob("step-*"))
    for place in places[:-keep]:
        shutil.rmtree(place)
    return int(places[-keep:][0].name.removeprefix("step-"))


def latest_checkpoint(folder: Path, note: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest whole checkpoint.

    Damaged ones that are newer are named through `note` and removed: if they were kept, they would count as
    the newest when checkpoints are dropped.
    """
    from safetensors.torch import load_file

    for place in sorted(folder.glob("step-*"), reverse=True):
        damage = find_damage(place)
        if damage:
            note(f"checkpoint {place.name} is damaged ({damage}) and removed")
            with disk_errors(place):
                shutil.rmtree(place)
            continue
        state = json.loads((place / STATE).read_text())
        return Checkpoint(state.pop("step"), load_file(place / TENSORS), state)
    return None
