"""Trackers by name: what they receive, when they end, and that none is left out in silence."""

import json

import pytest
from accelerate.tracking import GeneralTracker, register_tracker_class

from alignkit.errors import UserError
from alignkit.recipe import Train
from alignkit.stages.train.tracking import tracking


class Recorder(GeneralTracker):
    """Keeps what it is told."""

    name = "recorder"
    requires_logging_directory = False
    events: list[tuple]

    def __init__(self, project, **options):
        super().__init__()
        Recorder.events = [("project", project)]

    @property
    def tracker(self):
        return self

    def store_init_configuration(self, values):
        Recorder.events.append(("settings", values))

    def log(self, values, step=None, **options):
        Recorder.events.append((step, values))

    def finish(self):
        Recorder.events.append(("finished",))


def stage(*names: str) -> Train:
    return Train.model_validate(
        {"train": {"sft": {"weight": 2.0}}, "on": "pairs", "learning_rate": 1e-3, "trackers": list(names)}
    )


def train_and_fail(folder) -> None:
    with tracking(stage("recorder"), "run-sft", folder, cpu=True) as track:
        track(1, {"loss": 0.5})
        track(2, {"loss": 0.25})
        raise RuntimeError


def test_a_tracker_gets_the_settings_and_every_steps_metrics_and_is_ended_by_an_error_too(tmp_path):
    register_tracker_class(Recorder)
    with pytest.raises(RuntimeError):
        train_and_fail(tmp_path)
    project, (_, settings), *steps = Recorder.events
    assert project == ("project", "run-sft")
    assert settings["learning_rate"] == 1e-3
    assert json.loads(settings["train"])[0]["weight"] == 2.0
    assert steps == [(1, {"loss": 0.5}), (2, {"loss": 0.25}), ("finished",)]


def test_without_trackers_metrics_go_nowhere(tmp_path):
    with tracking(stage(), "run-sft", tmp_path, cpu=True) as track:
        track(1, {"loss": 0.5})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words"), [("nonsense", "nonsense"), ("comet_ml", "'comet_ml' is not installed")]
)
def test_a_tracker_that_is_unknown_or_not_installed_is_an_error(tmp_path, name, words):
    with pytest.raises(UserError, match=words), tracking(stage(name), "run-sft", tmp_path, cpu=True):
        pass
