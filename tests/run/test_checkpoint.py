"""Checkpoints and the lock: damage is removed, and places that cannot be used are told as what they are."""

import errno
import os
import shutil

import pytest
import torch

from alignkit import checkpoint
from alignkit.errors import UserError
from alignkit.run.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint
from alignkit.run.files import disk_errors, find_damage
from alignkit.run.lock import locked


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

    monkeypatch.setattr(checkpoint, "sha256", refuse)
    with pytest.raises(PermissionError):
        latest_checkpoint(tmp_path, pytest.fail)
    assert names(tmp_path) == ["step-00000001"]


def test_every_file_of_a_verified_folder_is_verified(tmp_path):
    checkpoint.write_verified(tmp_path / "shard", lambda place: (place / "any.bin").write_bytes(b"abc"))
    assert find_damage(tmp_path / "shard") is None
    (tmp_path / "shard" / "any.bin").write_bytes(b"abd")
    assert find_damage(tmp_path / "shard") == "the SHA-256 of any.bin differs from its manifest's"


@pytest.mark.parametrize(("readable", "words"), [(False, "cannot be read"), (True, "cannot be written")])
def test_a_refused_file_is_named_with_what_was_refused(tmp_path, monkeypatch, readable, words):
    file = tmp_path / "rows.jsonl"
    file.write_text("")
    monkeypatch.setattr(os, "access", lambda path, mode: readable)
    with pytest.raises(UserError, match=words) as caught, disk_errors(tmp_path / "run"):
        raise PermissionError(errno.EACCES, "Permission denied", str(file))
    assert caught.value.where == str(file)
    assert "--out" not in str(caught.value), "not every command that writes has it"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
        (
            RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "no space left",
        ),
        (OSError(errno.EROFS, "Read-only file system"), "read-only disk"),
    ],
)
def test_an_error_that_names_no_file_is_told_of_the_folder(tmp_path, error, words):
    with pytest.raises(UserError, match=words) as caught, disk_errors(tmp_path):
        raise error
    assert caught.value.where == str(tmp_path)


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(KeyError), disk_errors(tmp_path):
        raise KeyError("x")


@pytest.mark.parametrize("inside", [False, True])
def test_a_file_in_the_place_of_the_runs_folder_is_told(tmp_path, inside):
    (tmp_path / "taken").write_text("")
    with (
        pytest.raises(UserError, match="a file stands where a folder is needed"),
        locked(tmp_path / "taken" / ("run" if inside else "")),
    ):
        pass


def test_a_run_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    import filelock

    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".lock"))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(UserError, match="cannot be written") as caught, locked(tmp_path):
        pass
    assert caught.value.where == str(tmp_path / ".lock")


def test_the_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "run"):
        raise KeyError("x")
    with (
        locked(tmp_path / "run"),
        pytest.raises(UserError, match="another process"),
        locked(tmp_path / "run"),
    ):
        pass
    shutil.rmtree(tmp_path / "run")
