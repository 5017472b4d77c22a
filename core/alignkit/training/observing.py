"""Calls a stage's observers, keeps what they remember, and remembers which of them ended the stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from alignkit.errors import UserError, raised_at
from alignkit.observer import ObservedRollouts, ObservedStage, Observer, Stop


@dataclass(frozen=True)
class Stopped:
    """Says that an observer ended the stage: after which step of how many, which observer, and why."""

    step: int
    steps: int
    by: str
    reason: str

    def __str__(self) -> str:
        return f"stopped after step {self.step} of {self.steps} by {self.by}: {self.reason}"


class Observing:
    """The observers of a stage. stopped: what ended the stage before its last step, if anything did."""

    def __init__(self, observers: Sequence[Observer] = (), line: str = "") -> None:
        self.observers, self.line = observers, line
        self.stopped: Stopped | None = None

    def begin(self, name: str, steps: int, resumed: int, held_out_every: int | None) -> None:
        """Tell the observers of the stage, whose weights and states are there."""
        stage = ObservedStage(name, self.line, steps, resumed, held_out_every)
        for observer in self.observers:
            self._look(observer, "on_stage", stage)

    def step(
        self, step: int, steps: int, rollouts: Sequence[ObservedRollouts], metrics: Mapping[str, float]
    ) -> bool:
        """Tell the observers of a step, and of the batches of rollouts that it was the first to use.

        Return whether the stage ends before its time: the first observer that asks for it counts. Raises
        UserError where an observer fails; all of them then remember what they did before the step.
        """
        before = self.states
        answers: list[tuple[Observer, Stop]] = []
        try:
            for observer in self.observers:
                calls = [("on_rollouts", (step, batch)) for batch in rollouts]
                for method, given in [*calls, ("on_step", (step, steps, _read_only(metrics)))]:
                    answer = _call(observer, method, *given)
                    if answer is not None:
                        answers.append((observer, _required_stop(observer, method, answer)))
        except UserError:
            self._restore(before)
            raise
        if answers and step < steps:
            observer, stop = answers[0]
            self.stopped = Stopped(step, steps, observer.name, stop.reason)
        return self.stopped is not None

    def checkpoint(self, step: int, folder: Path) -> None:
        """Tell the observers of a checkpoint."""
        for observer in self.observers:
            self._look(observer, "on_checkpoint", step, folder)

    def end(self, metrics: Mapping[str, float]) -> None:
        """Tell the observers that training is over."""
        for observer in self.observers:
            self._look(observer, "on_end", _read_only(metrics))

    @property
    def states(self) -> dict[str, dict[str, float]]:
        """Return a copy of what each observer remembers, by its name."""
        return {observer.name: dict(observer.state) for observer in self.observers}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, which a checkpoint carries."""
        return {"states": self.states, "stopped": asdict(self.stopped) if self.stopped else None}

    def load(self, values: Mapping[str, Any]) -> None:
        """Restore what `to_dict` returned. An observer that is new in the recipe begins empty."""
        self._restore(values["states"])
        self.stopped = Stopped(**values["stopped"]) if values["stopped"] else None

    def _restore(self, states: Mapping[str, Mapping[str, float]]) -> None:
        for observer in self.observers:
            observer.state.replace(states.get(observer.name, {}))

    def _look(self, observer: Observer, method: str, *given: Any) -> None:
        """Call a method that may remember nothing, because a resumed run calls it again."""
        hint = "Only on_step and on_rollouts may write it: a resumed run calls the others again."
        with observer.state.locked(method, hint):
            _call(observer, method, *given)


def _call(observer: Observer, method: str, *given: Any) -> Any:
    """Return the answer of a method. Raises UserError, with the plugin's file and line, where it fails."""
    try:
        return getattr(observer, method)(*given)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"`{method}` of the observer {observer.name!r} failed: {type(error).__name__}: {error}",
            where=raised_at(error, type(observer)),
            hint="What was trained is saved. Correct the observer or take it out, and run the same command.",
        ) from error


def _required_stop(observer: Observer, method: str, answer: Any) -> Stop:
    """Refuse any answer but a `Stop`, and a `Stop` of an observer that does not declare it."""
    if not isinstance(answer, Stop):
        raise UserError(
            f"`{method}` of the observer {observer.name!r} returned {answer!r}; None or a Stop is expected"
        )
    if not type(observer).stops:
        raise UserError(
            f"the observer {observer.name!r} asks to stop and does not say that it may",
            hint="Write stops = True in its class: the stage's result then depends on the observer.",
        )
    return answer


def _read_only(metrics: Mapping[str, float]) -> Mapping[str, float]:
    return MappingProxyType(dict(metrics))
