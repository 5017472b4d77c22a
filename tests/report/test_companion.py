"""A process that writes the page beside the run."""

import subprocess
import time

import pytest
from fake_run import offline_metrics, write_train

from alignkit.report import companion
from alignkit.report.companion import followed
from alignkit.run.lock import locked


def wait_for(found, seconds=60.0):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_page_is_written_while_the_block_runs_and_nothing_is_left_after_it(tmp_path, monkeypatch):
    children = []
    start = subprocess.Popen
    monkeypatch.setattr(
        companion.subprocess, "Popen", lambda *a, **k: children.append(start(*a, **k)) or children[0]
    )
    write_train(tmp_path, "sft", "sft", offline_metrics(2, pairs=False), done=False)
    page = tmp_path / "report.html"
    with locked(tmp_path), followed(tmp_path, pytest.fail):
        wait_for(page.is_file)
        assert "This run goes on" in page.read_text()
    assert children[0].poll() is not None


def test_where_the_page_cannot_be_followed_that_is_told_and_the_run_goes_on(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no more processes")

    monkeypatch.setattr(companion.subprocess, "Popen", refuse)
    done, told = [], []
    with followed(tmp_path, told.append):
        done.append(True)
    assert done
    assert told == ["the page is not written while the run goes on: no more processes"]


def test_where_the_run_fails_the_last_page_says_that_it_ended(tmp_path):
    write_train(tmp_path, "sft", "sft", offline_metrics(2, pairs=False), done=False)
    page = tmp_path / "report.html"

    def run_that_fails():
        with locked(tmp_path), followed(tmp_path, pytest.fail):
            wait_for(page.is_file)
            raise KeyError("the run fails")

    with pytest.raises(KeyError):
        run_that_fails()
    wait_for(lambda: "This run is not finished" in page.read_text())
