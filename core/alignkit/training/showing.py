"""Shows how a stage trains: its newest numbers at every step, and how much time is left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import torch

from alignkit.example import Group
from alignkit.objective import Objective, OnlineObjective, updates_per_batch
from alignkit.progress import Display
from alignkit.training.metrics import SPEED
from alignkit.training.time_left import DRAW, MEASURE, STEP, Schedule, TimeLeft

TASK = "train"
FORWARD_SHARE = 1 / 3
"""The time of a forward pass over some tokens, as a share of the time of a step: backward takes about two."""


class Showing:
    """Shows the steps of a stage on a display. held_out: groups that are measured, to guess what it takes."""

    def __init__(self, display: Display, schedule: Schedule, held_out: Sequence[Group] = ()) -> None:
        self.display, self.schedule = display, schedule
        self.held_out_tokens = sum(group.tokens for group in held_out)
        self.time = TimeLeft()

    def begin(self, done: int, records: Sequence[Mapping[str, float]]) -> None:
        """Show where training goes on. records: the metrics of the steps before."""
        self.display.recall(TASK, records)
        self.display.advance(TASK, done, self.schedule.steps, {})

    def timing(self, part: str) -> AbstractContextManager[None]:
        """Time a part that is done between steps."""
        return self.time.timing(part)

    def took(self, step: float, draws: Sequence[float]) -> None:
        """Note what a step took without its samples, and what its new batches of samples took, in seconds."""
        self.time.add(STEP, step)
        if draws:
            self.time.add(DRAW, sum(draws))

    def step(self, done: int, values: Mapping[str, float], *, stopped: bool) -> None:
        """Show a step. stopped: it was the last one, before its time."""
        guesses = {}
        if values.get(SPEED, 0) > 0:
            guesses[MEASURE] = FORWARD_SHARE * self.held_out_tokens / values[SPEED]
        left = self.time.seconds(self.schedule.to_come(done), guesses)
        self.display.advance(TASK, done, done if stopped else self.schedule.steps, values, left=left)


def draws_every(objectives: Sequence[Objective]) -> int | None:
    """Return the steps after which new samples are drawn; None where no objective samples."""
    online = [updates_per_batch(one) for one in objectives if isinstance(one, OnlineObjective)]
    return math.gcd(*online) if online else None


def memory_gb(device: torch.device) -> float:
    """Return the peak memory so far in GB: of the CUDA device, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
