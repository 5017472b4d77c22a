"""Begins and ends a training stage's trackers (tensorboard, wandb, …), which are accelerate's."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from alignkit.errors import UserError
from alignkit.recipe import Train
from alignkit.training.trainer import Track


@contextmanager
def tracking(stage: Train, project: str, folder: Path, *, cpu: bool) -> Iterator[Track]:
    """Give a function of (step, metrics) that sends them to each of the stage's trackers.

    project: the name under which trackers keep them. folder: where trackers write files. Raises UserError for
    a tracker that accelerate does not know, and for one whose package is not installed.
    """
    if not stage.trackers:
        yield lambda step, values: None
        return
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of packages, see below
            accelerator = Accelerator(cpu=cpu, log_with=list(stage.trackers), project_dir=str(folder))
    except ValueError as error:
        raise UserError(
            str(error),
            where="training.trackers",
            hint="Give the names of accelerate's trackers, such as tensorboard.",
        ) from error
    found = {str(tracker) for tracker in accelerator.log_with}
    for name in stage.trackers:
        if name not in found | {"all"}:  # accelerate silently leaves out what is not installed
            raise UserError(
                f"the tracker {name!r} is not installed",
                where="training.trackers",
                hint=f"pip install {name}",
            )
    settings = stage.model_dump(mode="json")
    accelerator.init_trackers(
        project,
        {key: v if isinstance(v, int | float | str) else json.dumps(v) for key, v in settings.items()},
    )
    try:
        yield lambda step, values: accelerator.log(dict(values), step=step)
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
