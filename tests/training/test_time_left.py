"""The time that a training stage still takes, for simulated durations of its parts."""

import pytest

from alignkit.training.time_left import DRAW, MEASURE, SAVE, STEP, Schedule, TimeLeft, multiples


class Simulated:
    """A stage of 100 steps: batches of samples are drawn every `period` steps, and measured every 20."""

    def __init__(self, first=0, period=0, draw=0.0, measure=0.0, slow=0):
        self.first, self.period, self.draw, self.measure, self.slow = first, period, draw, measure, slow
        self.now = 0.0
        self.time = TimeLeft(clock=lambda: self.now)

    def part(self, name, seconds):
        with self.time.timing(name):
            self.now += seconds

    def step(self, number):
        if self.period and number % self.period == 0:
            self.part(DRAW, self.draw)
        self.part(STEP, 3.0 if number - self.first < self.slow else 1.0)
        if self.measure and (number + 1) % 20 == 0:
            self.part(MEASURE, self.measure)

    def estimate(self, done):
        to_come = Schedule(100, draw=self.period or None, measure=20).to_come(done)
        return self.time.seconds(to_come, {MEASURE: 0.8 * self.measure})

    def right_after_ten_steps(self):
        estimates = {}
        for number in range(self.first, 100):
            self.step(number)
            estimates[number + 1] = (self.estimate(number + 1), self.now)
        for done, (left, when) in estimates.items():
            if done >= self.first + 10 and done < 100:
                assert left == pytest.approx(self.now - when, rel=0.25), done
        return True


@pytest.mark.parametrize("first", [0, 60])
@pytest.mark.parametrize(
    "stage",
    [
        {},
        {"slow": 5},
        {"period": 4, "draw": 9.0},
        {"period": 4, "draw": 9.0, "slow": 5},
        {"period": 1, "draw": 9.0},
        {"period": 8, "draw": 40.0},
        {"measure": 30.0},
        {"measure": 30.0, "period": 4, "draw": 9.0},
    ],
    ids=str,
)
def test_after_ten_steps_the_time_left_is_right_within_a_quarter(stage, first):
    assert Simulated(first=first, **stage).right_after_ten_steps()


def test_nothing_is_estimated_before_the_first_step():
    assert TimeLeft().seconds({STEP: 100}) is None


def test_a_part_that_was_never_timed_counts_by_its_guess_or_not_at_all():
    left = TimeLeft()
    left.add(STEP, 2.0)
    assert left.seconds({STEP: 10, SAVE: 5, MEASURE: 2}, {MEASURE: 7.0}) == 34.0


@pytest.mark.parametrize(("every", "after", "until", "count"), [(4, 0, 12, 3), (4, 4, 11, 1), (4, -1, 7, 2)])
def test_multiples_are_counted_after_and_up_to(every, after, until, count):
    assert multiples(every, after, until) == count == sum(n % every == 0 for n in range(after + 1, until + 1))


def test_what_is_due_every_few_steps_is_due_at_the_end_too():
    schedule = Schedule(10, draw=4, measure=10, save=3)
    # draws before steps 5 and 9 (from 1); measured after 10; saved after 6, 9 and 10
    assert schedule.to_come(4) == {STEP: 6, DRAW: 2, MEASURE: 1, SAVE: 3}
    assert schedule.to_come(10) == {STEP: 0, DRAW: 0, MEASURE: 0, SAVE: 0}
