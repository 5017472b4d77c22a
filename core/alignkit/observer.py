"""Defines what looks on while a stage trains, and may end it: an observer, and what it is told.

torch is not imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, PrivateAttr

from alignkit.example import Text
from alignkit.state import State


@dataclass(frozen=True)
class Stop:
    """What an observer returns to end the stage. reason: for people, such as "the loss did not fall"."""

    reason: str


@dataclass(frozen=True)
class ObservedStage:
    """The stage that begins. line: what it does, in one line. steps: its optimizer steps.

    resumed: the step after which it goes on; 0 at its beginning. held_out_every: optimizer steps between
    measurements on held-out data; None where there are none before the end.
    """

    name: str
    line: str
    steps: int
    resumed: int
    held_out_every: int | None


@dataclass(frozen=True)
class ObservedRollouts:
    """A batch of samples that an online objective drew, everything as [prompt][sample].

    rewards: the weighted sum of the rewards, None where one of them abstained. reward_parts: each reward by
    itself.
    """

    objective: str
    prompts: Sequence[Text]
    completions: Sequence[Sequence[Text]]
    rewards: Sequence[Sequence[float | None]]
    reward_parts: Mapping[str, Sequence[Sequence[float | None]]]


class Observer(BaseModel):
    """Looks on while a stage trains. The fields of a subclass are its options; every method is optional.

    stops: the observer may end the stage. The stage's result then depends on it: a change of its options or
    of its file makes the stage run again. An observer that only looks may be added or changed at any time.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)

    name: ClassVar[str]
    stops: ClassVar[bool] = False
    _state: State = PrivateAttr(default_factory=State)

    @property
    def state(self) -> State:
        """Return the numbers to remember. Checkpoints carry them.

        Only `on_step` and `on_rollouts` may write them, because the others are called again when a stage is
        resumed.
        """
        return self._state

    def on_stage(self, stage: ObservedStage) -> None:
        """Look at the stage before its first step, also where it is resumed."""

    def on_rollouts(self, step: int, rollouts: ObservedRollouts) -> Stop | None:
        """Look at a batch of samples after the first optimizer step that used it, before `on_step`."""

    def on_step(self, step: int, steps: int, metrics: Mapping[str, float]) -> Stop | None:
        """Look at the metrics of optimizer step `step`, from 1 to `steps`.

        They have the names of `metrics.jsonl`; those on held-out data are there at the steps where they were
        measured. `Stop(reason)` ends the stage after this step, as if it had been the last one.
        """

    def on_checkpoint(self, step: int, folder: Path) -> None:
        """Look at the checkpoint that was written after optimizer step `step`."""

    def on_end(self, metrics: Mapping[str, float]) -> None:
        """Look at the last held-out metrics when training is over, before the adapters are saved."""
