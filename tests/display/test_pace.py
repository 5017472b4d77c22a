"""How much time is left, estimated from counts, and how durations are written."""

import pytest

from alignkit.display.pace import Pace, duration, exact_duration


def marked(seconds, done=0):
    """A pace after steps of these durations, the first of which begins at the count `done`."""
    pace, now = Pace(), 100.0
    pace.mark(now, done)
    for taken in seconds:
        now, done = now + taken, done + 1
        pace.mark(now, done)
    return pace


@pytest.mark.parametrize(
    ("seconds", "done", "rest"),
    [
        ([2.0] * 10, 0, 2.0 * 90),
        ([6.0] * 5 + [2.0] * 5, 0, 2.0 * 90),  # slow at first
        ([2.0] * 10, 60, 2.0 * 30),  # resumed: 60 steps are no work of this process
        ([1.0, 1.0, 1.0, 10.0] * 3, 0, 3.25 * 88),  # three whole periods
    ],
)
def test_the_time_left_is_right_within_a_quarter(seconds, done, rest):
    assert marked(seconds, done).left(100) == pytest.approx(rest, rel=0.25)


def test_nothing_is_estimated_before_anything_is_done():
    assert marked([]).left(100) is None
    pace = marked([])
    pace.mark(105.0, 0)
    assert pace.left(100) is None


def test_a_million_counts_leave_few_marks():
    pace = Pace()
    for done in range(100_000):
        pace.mark(done / 10_000, done)
    assert len(pace.marks) == pytest.approx(50, abs=5)
    assert pace.left(200_000) == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (92, "1 min 30 s"),
        (594, "9 min 50 s"),
        (596, "10 min"),
        (743, "12 min"),
        (3599, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_durations_are_written_for_people(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(45.2, "45 s"), (59.6, "1 min 00 s"), (725, "12 min 05 s"), (3900, "1 h 05 min")]
)
def test_durations_that_have_passed_are_written_to_the_second(seconds, text):
    assert exact_duration(seconds) == text
