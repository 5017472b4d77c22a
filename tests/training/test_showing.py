"""What a stage tells of its steps: the time left, and the numbers of earlier processes."""

import random

import pytest
from tiny_models import Silent, random_groups

from alignkit.training.showing import Showing, draws_every
from alignkit.training.time_left import Schedule
from alignkit_ppo import ProximalPolicyOptimization
from alignkit_sft import SupervisedFineTuning


class Told(Silent):
    def __init__(self):
        super().__init__()
        self.steps, self.recalled = [], []

    def advance(self, task, done, total, values, *, left=None):
        self.steps.append((task, done, total, left))

    def recall(self, task, records):
        self.recalled += records


def test_each_step_tells_the_time_left():
    told = Told()
    showing = Showing(told, Schedule(10, draw=2))
    showing.begin(4, [{"step": 4, "loss": 1.0}])
    showing.took(2.0, [7.0])
    showing.step(5, {}, stopped=False)
    # five steps of 2 s, and the batches of samples before the steps 7 and 9
    assert told.steps == [("train", 4, 10, None), ("train", 5, 10, 5 * 2.0 + 2 * 7.0)]
    assert told.recalled == [{"step": 4, "loss": 1.0}]


def test_a_measurement_that_was_not_timed_counts_as_a_forward_pass_over_its_tokens():
    told, groups = Told(), random_groups(random.Random(0), 5)
    showing = Showing(told, Schedule(3, measure=3), groups)
    showing.took(1.0, [])
    showing.step(1, {"tokens_per_second": 10.0}, stopped=False)
    (_, _, _, left) = told.steps[-1]
    assert left == pytest.approx(2 * 1.0 + sum(group.tokens for group in groups) / 10 / 3)


def test_a_stage_that_is_stopped_ends_where_it_is():
    told = Told()
    Showing(told, Schedule(10)).step(4, {}, stopped=True)
    assert told.steps == [("train", 4, 4, None)]


def test_samples_are_drawn_as_often_as_the_objectives_that_sample_need_them():
    ppo, often = (ProximalPolicyOptimization(epochs=epochs, minibatches=2) for epochs in (4, 3))
    assert draws_every([SupervisedFineTuning()]) is None
    assert draws_every([SupervisedFineTuning(), ppo]) == 8
    assert draws_every([ppo, often]) == 2
