"""The lock on a run's folder."""

import errno
import shutil

import pytest

from alignkit.errors import UserError
from alignkit.run.lock import is_locked, locked


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


def test_whether_a_run_goes_on_can_be_told_without_disturbing_it(tmp_path):
    assert not is_locked(tmp_path)
    assert not is_locked(tmp_path / "absent")
    with locked(tmp_path):
        assert is_locked(tmp_path)
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        pass
