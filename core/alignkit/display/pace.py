"""Estimates how long a task still takes from its counts, and writes durations for people."""

from __future__ import annotations

RESOLUTION = 0.2
"""Seconds between two marks: a task of a million rows leaves few of them."""


class Pace:
    """How fast a task goes.

    Only what this process did counts: where a task is resumed, its first count is no work of this process.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[float, int]] = []  # when so much was done

    def mark(self, now: float, done: int) -> None:
        """Note how much is done. now: the seconds of a clock."""
        if not self.marks or now - self.marks[-1][0] >= RESOLUTION:
            self.marks.append((now, done))

    def left(self, total: int) -> float | None:
        """Return the seconds that the rest takes, as fast as the newer half went; None while unknown."""
        (then, before), (now, done) = self.marks[(len(self.marks) - 1) // 2], self.marks[-1]
        if done <= before:
            return None
        return (now - then) / (done - before) * (total - done)


def duration(seconds: float) -> str:
    """Write a duration that is estimated, such as 45 s, 2 min 30 s, 12 min or 1 h 05 min."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 595:
        minutes, rest = divmod(10 * round(seconds / 10), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def exact_duration(seconds: float) -> str:
    """Write a duration that has passed, to the second below an hour: 45 s, 12 min 05 s or 1 h 05 min."""
    whole = round(seconds)
    if whole < 60 or whole >= 3600:
        return duration(whole)
    return f"{whole // 60} min {whole % 60:02d} s"
