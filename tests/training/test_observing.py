"""Calling observers: what they are told, what they may answer, and what happens where one fails."""

import pytest

from alignkit import ObservedRollouts, Observer, Stop, UserError
from alignkit.training.observing import Observing, Stopped

ROLLOUTS = ObservedRollouts("online", ["a"], [["b", "c"]], [[1.0, None]], {"length": [[1.0, None]]})


class Keeps(Observer):
    """Keeps what it is told."""

    name = "keeps"

    def model_post_init(self, context):
        self._calls = []

    def on_stage(self, stage):
        self._calls.append((stage.name, stage.line, stage.steps, stage.resumed, stage.held_out_every))

    def on_rollouts(self, step, rollouts):
        self._calls.append((step, rollouts))

    def on_step(self, step, steps, metrics):
        self._calls.append((step, steps, dict(metrics)))

    def on_checkpoint(self, step, folder):
        self._calls.append((step, folder))

    def on_end(self, metrics):
        self._calls.append(dict(metrics))


def observer(on_step=None, **body):
    """An observer with these methods."""
    methods = {"on_step": on_step} if on_step else {}
    return type("Made", (Observer,), {"name": "made", "__module__": __name__, **methods, **body})()


def stopper(name, at):
    def on_step(self, step, steps, metrics):
        return Stop("far enough") if step == at else None

    return observer(on_step, stops=True, name=name)


def counts(self, step, steps, metrics):
    self.state["steps"] = self.state.get("steps", 0) + 1


def fails(self, step, steps, metrics):
    self.state["half"] = 1
    raise KeyError("loss")


def test_an_observer_is_told_of_the_stage_its_steps_rollouts_checkpoints_and_end(tmp_path):
    keeps = Keeps()
    one = Observing([keeps], "train x on y")
    one.begin("sft", 9, 4, 2)
    assert one.step(5, 9, [ROLLOUTS], {"loss": 0.5}) is False
    one.checkpoint(5, tmp_path)
    one.end({"held_out/loss": 0.4})
    assert keeps._calls == [
        ("sft", "train x on y", 9, 4, 2),
        (5, ROLLOUTS),
        (5, 9, {"loss": 0.5}),
        (5, tmp_path),
        {"held_out/loss": 0.4},
    ]


def test_metrics_are_read_only():
    def writes(self, step, steps, metrics):
        metrics["loss"] = 0.0

    with pytest.raises(UserError, match="does not support item assignment"):
        Observing([observer(writes)]).step(1, 9, [], {"loss": 1.0})


def test_the_first_that_asks_stops_the_stage_and_all_see_the_step():
    seen = observer(counts, name="seen")
    one = Observing([stopper("first", 2), stopper("second", 2), seen])
    assert [one.step(step, 9, [], {}) for step in (1, 2)] == [False, True]
    assert one.stopped == Stopped(2, 9, "first", "far enough")
    assert str(one.stopped) == "stopped after step 2 of 9 by first: far enough"
    assert seen.state == {"steps": 2}


def test_rollouts_may_stop_it_too_and_the_last_step_ends_by_itself():
    one = Observing([observer(on_rollouts=lambda self, step, rollouts: Stop("bad"), stops=True)])
    assert one.step(9, 9, [ROLLOUTS], {}) is False
    assert one.step(3, 9, [], {}) is False
    assert one.step(4, 9, [ROLLOUTS], {}) is True


@pytest.mark.parametrize(
    ("answer", "words"),
    [(True, "returned True; None or a Stop"), (Stop("x"), "Write stops = True in its class")],
)
def test_another_answer_and_a_stop_without_the_declaration_are_refused(answer, words):
    with pytest.raises(UserError, match=words):
        Observing([observer(lambda self, step, steps, metrics: answer)]).step(1, 9, [], {})


def test_one_that_fails_is_named_with_its_file_and_line_and_no_one_remembers_the_step():
    before, after = observer(counts, name="before"), observer(fails, name="after")
    one = Observing([before, stopper("stops", 1), after])
    with pytest.raises(
        UserError, match="`on_step` of the observer 'after' failed: KeyError: 'loss'"
    ) as caught:
        one.step(1, 9, [], {})
    assert str(caught.value.where).endswith(f"test_observing.py:{fails.__code__.co_firstlineno + 2}")
    assert (before.state, after.state, one.stopped) == ({}, {}, None)


def test_a_users_mistake_that_an_observer_tells_is_told_as_it_is():
    def mistaken(self, step, steps, metrics):
        raise UserError("no metric is called 'lss'", where="here")

    with pytest.raises(UserError, match="here: no metric is called 'lss'"):
        Observing([observer(mistaken)]).step(1, 9, [], {})


def test_only_steps_and_rollouts_may_be_remembered(tmp_path):
    writes = observer(on_checkpoint=lambda self, step, folder: self.state.update(step=step))
    with pytest.raises(UserError, match="changed in `on_checkpoint`, where it can only be read"):
        Observing([writes]).checkpoint(1, tmp_path)


def test_what_is_remembered_comes_back_and_a_new_observer_begins_empty():
    one = Observing([observer(counts), stopper("stops", 1)])
    one.step(1, 9, [], {})
    again = Observing([observer(counts), observer(name="new")])
    again.load(one.to_dict())
    assert again.states == {"made": {"steps": 1}, "new": {}}
    assert again.stopped == one.stopped
