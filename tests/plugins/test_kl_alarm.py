"""The alarm: where it stops, and what is refused."""

import pytest

from alignkit import UserError
from alignkit_kl_alarm import KlAlarm


def test_it_stops_above_the_limit_and_says_by_how_much():
    alarm = KlAlarm(limit=2.0)
    assert alarm.on_step(1, 9, {"objective/kl": 2.0}) is None
    stop = alarm.on_step(2, 9, {"objective/kl": 2.5})
    assert stop is not None
    assert stop.reason == "objective/kl is 2.5, above 2"
    assert alarm.on_step(3, 9, {"objective/kl": float("nan")}) is not None


def test_a_metric_may_be_missing_later_but_not_in_the_first_step():
    alarm = KlAlarm(limit=2.0, metric="rollouts/kl")
    with pytest.raises(UserError, match="no metric is called 'rollouts/kl'; found: loss"):
        alarm.on_step(1, 9, {"loss": 1.0})
    assert alarm.on_step(2, 9, {"loss": 1.0}) is None
