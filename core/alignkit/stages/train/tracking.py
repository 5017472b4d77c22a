"""Trackers by name (tensorboard, wandb, …): accelerate's, begun and ended with a training stage."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from alignkit.errors import UserError
from alignkit.recipe import Train


@contextmanager
def tracking(
    stage: Train, project: str, folder: Path, *, cpu: bool
) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """What takes (step, metrics), sent to each of the stage's trackers under the name `project`; files go
    into `folder`.

    Raises UserError for a tracker that accelerate does not know, and for one whose package is not installed.
    """
    if not stage.trackers:
        yield lambda step, values: None
        return
    try:
        # that none is installed, which is said below
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            accelerator = Accelerator(cpu=cpu, log_with=list(stage.trackers), project_dir=str(folder))
    except ValueError as error:
        raise UserError(
            str(error), where="training.trackers", hint="Trackers are accelerate's, by name."
        ) from error
    found = {str(tracker) for tracker in accelerator.log_with}
    for name in stage.trackers:
        if name not in found | {"all"}:  # accelerate leaves out, without a word, what is not installed
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
        yield lambda step, values: accelerator.log(values, step=step)
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
