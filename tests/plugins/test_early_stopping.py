"""Early stopping: what counts as an improvement, and what is refused."""

import pytest

from alignkit import ObservedStage, UserError
from alignkit_early_stopping import EarlyStopping


def stopped_at(values, **options):
    """The measurement, from 1, at which it stops; None where it does not."""
    observer = EarlyStopping(**options)
    for number, value in enumerate(values, 1):
        if observer.on_step(number, 99, {observer.metric: value}) is not None:
            return number
    return None


def test_it_stops_after_patience_measurements_without_an_improvement():
    assert stopped_at([3.0, 2.0, 2.5, 2.1, 2.0, 1.0], patience=3) == 5
    assert stopped_at([3.0, 2.0, 2.5, 2.1, 1.9, 2.0], patience=3) is None, "an improvement counts anew"


def test_an_improvement_is_larger_than_least():
    assert stopped_at([3.0, 2.9, 2.8, 2.7], patience=2, least=0.5) == 3
    assert stopped_at([3.0, 2.9, 2.8, 2.4], patience=4, least=0.5) is None


def test_higher_may_be_better():
    assert stopped_at([0.5, 0.6, 0.7, 0.7, 0.6], patience=2, better="higher") == 5
    assert stopped_at([0.5, 0.4, 0.3], patience=2, better="higher") == 3


def test_a_number_that_is_none_is_no_improvement():
    assert stopped_at([3.0, float("nan"), float("nan")], patience=2) == 3


def test_steps_without_a_measurement_do_not_count():
    observer = EarlyStopping(patience=1)
    assert observer.on_step(1, 9, {"loss": 1.0}) is None
    assert observer.on_step(2, 9, {"loss": 1.0, "held_out/loss": 1.0}) is None
    assert observer.on_step(3, 9, {"loss": 9.0}) is None
    stop = observer.on_step(4, 9, {"loss": 1.0, "held_out/loss": 1.0})
    assert stop is not None
    assert stop.reason == "held_out/loss has not improved in 1 measurements"


@pytest.mark.parametrize("metric", ["held_out/los", "los"])
def test_a_metric_that_does_not_exist_is_refused_with_those_that_do(metric):
    with pytest.raises(UserError, match=f"no metric is called '{metric}'; found: held_out/loss, loss"):
        EarlyStopping(metric=metric).on_step(2, 9, {"loss": 1.0, "held_out/loss": 1.0})


def test_held_out_metrics_must_be_measured_before_the_end():
    with pytest.raises(UserError, match="nothing is held out and measured before the end"):
        EarlyStopping().on_stage(ObservedStage("one", "", 9, 0, None))
    EarlyStopping().on_stage(ObservedStage("one", "", 9, 0, 3))
    EarlyStopping(metric="loss").on_stage(ObservedStage("one", "", 9, 0, None))
