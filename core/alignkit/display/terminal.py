"""Shows a run on a console: bars in a terminal, lines elsewhere, and never more than 10 s of silence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from alignkit.display.bars import Bars
from alignkit.display.numbers import Numbers
from alignkit.display.pace import Pace, duration
from alignkit.display.tables import durations, interval_tables, plain, shortened
from alignkit.measure import Metric
from alignkit.progress import PlainInterval
from alignkit.training.metrics import HELD_OUT

LINE_SECONDS = 8.0
"""Seconds after the last line before progress gives another one."""
SILENCE_SECONDS = 9.0
"""Seconds of silence after which the newest line is repeated, with the time that has passed."""
BEAT_SECONDS = 0.5
"""Seconds between two looks at how long it has been silent."""


@dataclass
class Task:
    """A task that is under way.

    left: seconds to its end, as the task itself says. told: whether a line of it was shown. changed: when its
    count changed last, by the display's clock.
    """

    name: str
    began: float
    numbers: Numbers
    done: int = 0
    total: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    left: float | None = None
    told: bool = False
    changed: float = 0.0
    pace: Pace = field(default_factory=Pace)

    @property
    def counts(self) -> bool:
        """Tell whether the task can say how far it is: it has several parts, or numbers."""
        return self.total != 1 or bool(self.values)

    @property
    def count(self) -> str:
        """Return how far the task is, where it can say so."""
        if not self.counts:
            return ""
        return f"{self.done}/{self.total}" if self.total else f"{self.done}"

    @property
    def name_and_count(self) -> str:
        """Return the task's name and how far it is."""
        return f"{self.name} {self.count}".rstrip()

    def time(self, now: float) -> str:
        """Say how long the task still takes, or for how long it has been going on."""
        left = self.pace.left(self.total) if self.left is None and self.total > 1 else self.left
        if left is None or self.done >= self.total:
            return duration(now - self.began)
        return f"{duration(max(0.0, left - (now - self.changed)))} left"


class TerminalDisplay:
    """Shows the stages of a run on a console; also a context manager that leaves the terminal clean.

    Without a terminal it gives a line at most every few seconds. As a context manager it repeats the newest
    line where nothing else is shown for long, because something may take long that cannot tell how far it is.
    clock: gives seconds.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console()
        self.clock = clock
        self.bars = Bars(self.console) if self.console.is_terminal else None
        self.tasks: dict[str, Task] = {}  # those under way; each is a part of the one before it
        self.stage, self.began, self.last_line = "", clock(), clock()
        self.metrics: Mapping[str, Metric] = {}
        self.numbers: dict[str, Numbers] = {}
        self.took: dict[str, float | None] = {}
        self._lock = threading.RLock()
        self._over = threading.Event()

    def begin(self, stage: str, line: str, metrics: Mapping[str, Metric]) -> None:
        """Announce a stage. metrics: the labels of its numbers; details are not shown."""
        with self._lock:
            self.end()
            self.stage, self.began = stage, self.clock()
            self.metrics, self.numbers = metrics, {}
            self.took[stage] = None
            self._print(Text.assemble("\n", (plain(stage), "bold"), f"  {plain(line)}"))

    def finish(self) -> None:
        """Note that the stage is done."""
        with self._lock:
            self.end()
            self.took[self.stage] = self.clock() - self.began

    def note(self, text: str) -> None:
        """Show a line that stays."""
        self._print(Text(f"  {plain(text)}"))

    def brief(self, when: str, prompt: str, answer: str) -> None:
        """Show a prompt and its answer in one line that stays, as much of them as there is room for."""
        room = max(20, self.console.width - len(when) - len("    ›  "))
        question = shortened(prompt, room // 3)
        self.note(f"{when}  {question} › {shortened(answer, room - len(question))}")

    def table(self, targets: Mapping[str, Mapping[str, PlainInterval]]) -> None:
        """Show measured intervals, one line per target."""
        for table in interval_tables(targets, self.console.width):
            self._print(table)

    def close(self, done: str) -> None:
        """Show how long each stage took, and the line `done`."""
        self.end()
        if self.took:
            self._print(Text(f"\n{plain(durations(self.took))}"))
        self._print(Text(f"\n{plain(done)}"))

    def advance(
        self, task: str, done: int, total: int, values: Mapping[str, float], *, left: float | None = None
    ) -> None:
        """Show the progress of a task of the stage, with its newest numbers; see `Display`."""
        with self._lock:
            found, now = self._at(task), self.clock()
            if done != found.done:
                found.changed = now
            found.done, found.total, found.left = done, total, left
            found.pace.mark(now, done)
            if values:
                found.numbers.add(values)
                found.values = values
            ended = done == total
            if self.bars is not None:
                self._draw(found, now)
            due = now - self.last_line >= LINE_SECONDS or (ended and (found.told or values))
            if any(name.startswith(HELD_OUT) for name in values) or (due and self.bars is None):
                self._tell(now)
            if ended:
                self._forget(task)

    def recall(self, task: str, records: Sequence[Mapping[str, float]]) -> None:
        """Take the numbers that earlier runs of this stage showed: trends begin with them."""
        with self._lock:
            for record in records:
                self._numbers(task).add(record)

    def end(self) -> None:
        """Take the bars away."""
        with self._lock:
            self.tasks.clear()
            if self.bars is not None:
                self.bars.clear()

    def beat(self) -> None:
        """Show that the work goes on, where nothing has been shown for long."""
        with self._lock:
            now = self.clock()
            if self.bars is not None:
                if self.tasks:
                    self._draw(list(self.tasks.values())[-1], now)
            elif now - self.last_line >= SILENCE_SECONDS:
                self._tell(now)

    def __enter__(self) -> TerminalDisplay:
        self._over.clear()
        threading.Thread(target=self._beats, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self.end()

    def _beats(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            self.beat()

    def _at(self, name: str) -> Task:
        """Return the task, which begins where it is not under way. Its parts are over."""
        if name not in self.tasks:
            now = self.clock()
            self.tasks[name] = Task(name, now, self._numbers(name), changed=now)
        for part in list(self.tasks)[list(self.tasks).index(name) + 1 :]:
            self._forget(part)
        return self.tasks[name]

    def _forget(self, name: str) -> None:
        del self.tasks[name]
        if self.bars is not None:
            self.bars.remove(name)

    def _numbers(self, task: str) -> Numbers:
        return self.numbers.setdefault(task, Numbers(self.metrics))

    def _draw(self, task: Task, now: float) -> None:
        assert self.bars is not None
        numbers = plain(task.numbers.line(task.values))
        self.bars.draw(task.name, task.done, task.total, (task.count, task.time(now), numbers))

    def _tell(self, now: float) -> None:
        """Show a line on the tasks that are under way."""
        under_way = list(self.tasks.values())
        if not under_way:
            self.note(f"{self.stage or 'working'}, for {duration(now - self.began)}")
            return
        for task in under_way:
            task.told = True
        newest = under_way[-1]
        parts = [": ".join(task.name_and_count for task in under_way), newest.numbers.line(newest.values)]
        silent = now - newest.changed
        if not newest.counts or newest.done != newest.total:
            parts.append(newest.time(now))
        if newest.counts and silent >= SILENCE_SECONDS:
            parts.append(f"since {duration(silent)}")
        self.note("  ".join(part for part in parts if part))

    def _print(self, what: object) -> None:
        with self._lock:
            self.last_line = self.clock()
            self.console.print(what, highlight=False, markup=False, emoji=False, soft_wrap=True)
