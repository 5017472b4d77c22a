"""Checkpoints: read back as they were written, and removed where they are damaged."""

import errno

import pytest
import torch

from alignkit.run import files
from alignkit.run.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint


def save(folder, step, keep=1):
    return save_checkpoint(
        folder, Checkpoint(step, {"weight": torch.full((2,), float(step))}, {"note": step}), keep
    )


def names(folder):
    return sorted(place.name for place in folder.iterdir())


def test_a_checkpoint_is_read_back_as_it_was_written(tmp_path):
    assert save(tmp_path, 3) == 3
    found = latest_checkpoint(tmp_path, pytest.fail)
    assert (found.step, found.state) == (3, {"note": 3})
    assert found.tensors["weight"].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("damage", ["state.json", "tensors.safetensors", "manifest.json"])
def test_a_damaged_newest_checkpoint_does_not_outlive_the_sound_ones_saved_after_it(tmp_path, damage):
    save(tmp_path, 2, keep=2)
    save(tmp_path, 5, keep=2)
    (tmp_path / "step-00000005" / damage).write_bytes(b"x")
    notes = []
    assert latest_checkpoint(tmp_path, notes.append).step == 2
    assert len(notes) == 1
    assert "step-00000005 is damaged" in notes[0]
    assert damage in notes[0]
    assert save(tmp_path, 3, keep=1) == 3
    assert names(tmp_path) == ["step-00000003"]


def test_without_a_sound_checkpoint_there_is_none(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "step-00000001" / "state.json").unlink()
    notes = []
    assert latest_checkpoint(tmp_path, notes.append) is None
    assert "state.json is missing" in notes[0]
    assert not names(tmp_path)


def test_a_checkpoint_that_may_not_be_read_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(files, "sha256", refuse)
    with pytest.raises(PermissionError):
        latest_checkpoint(tmp_path, pytest.fail)
    assert names(tmp_path) == ["step-00000001"]
