"""A stage's manifest: read back as it was written, or not trusted."""

import json
import os
from dataclasses import replace

import pytest

from alignkit.measure import Metric
from alignkit.run.folder import StageFolder
from alignkit.run.hardware import Hardware
from alignkit.run.manifest import Inputs, TermInputs, begin, finish, missing_or_changed, read_manifest

TRAINS = {"policy": "language-model", "value": "value"}
TERM = TermInputs("mine", 0.5, "pairs", TRAINS, {"beta": 0.1})
INPUTS = Inputs(
    "0.1.0",
    "train",
    {"on": "pairs"},
    {"objective mine": "a"},
    {"base": "b"},
    3,
    {"pairs": "f"},
    (TERM,),
)
METRICS = {"loss": Metric("loss"), "objective/kl": Metric("KL", "nats", divergence=True, detail=True)}


@pytest.fixture
def folder(tmp_path) -> StageFolder:
    (tmp_path / "one").mkdir()
    return StageFolder(tmp_path / "one")


def test_it_is_read_back_as_it_was_written(folder):
    written = begin(folder, INPUTS, "train mine on pairs", METRICS)
    assert read_manifest(folder) == written
    assert written.inputs.trains == TRAINS
    assert not written.done


def test_a_finished_stage_has_the_hash_of_every_file_but_caches(folder):
    (folder.path / "adapter").mkdir()
    (folder.path / "adapter" / "weights").write_text("w")
    folder.checkpoints.mkdir()
    (folder.checkpoints / "step").write_text("s")
    finish(folder, begin(folder, INPUTS, "", {}))
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.done
    assert list(manifest.files) == ["adapter/weights"]
    assert missing_or_changed(folder, manifest) == []
    (folder.path / "adapter" / "weights").write_text("changed")
    assert missing_or_changed(folder, manifest) == ["adapter/weights"]


def test_the_fingerprint_depends_on_every_input():
    changes = [
        {"verb": "sample"},
        {"settings": {"on": "other"}},
        {"code": {}},
        {"seed": 4},
        {"reads": {"pairs": "g"}},
        {"terms": (replace(TERM, options={"beta": 0.2}),)},
    ]
    found = {INPUTS.fingerprint, *(replace(INPUTS, **change).fingerprint for change in changes)}
    assert len(found) == 1 + len(changes)
    assert replace(INPUTS).fingerprint == INPUTS.fingerprint


def test_what_an_earlier_version_wrote_is_read_but_is_not_the_same_stage(folder):
    """Its weights can be used; the stage itself is done again."""
    term = {"objective": "mine", "weight": 0.5, "on": "pairs", "trains": ["policy", "value"], "beta": 0.1}
    inputs = {
        "alignkit": "0.1.0",
        "stage": "train",
        "settings": {"on": "pairs"},
        "code": {"objective mine": "a"},
        "model": {"base": "b"},
        "seed": 3,
        "reads": {"pairs": "f"},
        "terms": [term],
    }
    stored = {"fingerprint": "e", "inputs": inputs, "done": True, "versions": {}, "files": {"adapter": "s"}}
    folder.manifest.write_text(json.dumps(stored))
    manifest = read_manifest(folder)
    assert manifest is not None
    assert (manifest.inputs, manifest.fingerprint, manifest.done) == (INPUTS, "e", True)
    assert manifest.fingerprint != manifest.inputs.fingerprint


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps({"inputs": {"terms": [1]}})])
def test_what_is_not_as_alignkit_writes_it_is_not_trusted(folder, text):
    folder.manifest.write_text(text)
    assert read_manifest(folder) is None


def test_the_hardware_is_read_back_and_changes_no_fingerprint(folder):
    hardware = Hardware("Tiny CPU", 2, 15.6, "float32")
    written = begin(folder, INPUTS, "", {}, hardware)
    assert read_manifest(folder) == written
    assert written.hardware == hardware
    assert written.fingerprint == INPUTS.fingerprint


def test_a_stage_that_is_killed_and_resumed_has_worked_as_long_as_both_times_together(folder, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    begin(folder, INPUTS, "", {})
    (folder.path / "metrics.jsonl").write_text("")
    os.utime(folder.path / "metrics.jsonl", (1060.0, 1060.0))  # the last file before it was killed
    os.utime(folder.manifest, (1000.0, 1000.0))
    clock[0] = 5000.0
    resumed = begin(folder, INPUTS, "", {})
    assert resumed.seconds == 60.0
    clock[0] = 5030.0
    finish(folder, resumed)
    done = read_manifest(folder)
    assert done is not None
    assert done.seconds == 90.0
