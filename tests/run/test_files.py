"""Files that survive a crash, and places that cannot be used."""

import errno
import os

import pytest

from alignkit.errors import UserError
from alignkit.run.files import disk_errors, find_damage, write_folder, write_verified


def test_every_file_of_a_verified_folder_is_verified(tmp_path):
    write_verified(tmp_path / "shard", lambda place: (place / "any.bin").write_bytes(b"abc"))
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


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path):
    target = tmp_path / "step-00000001"
    target.mkdir()
    (target / "kept").write_text("whole")

    def full(place):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="no space left"):
        write_folder(target, full)
    assert (target / "kept").read_text() == "whole"
