"""The page while its run goes on."""

import json
from contextlib import ExitStack

import pytest
from fake_run import offline_metrics, write_train

from alignkit.errors import UserError
from alignkit.report import following
from alignkit.report.following import follow
from alignkit.run.lock import locked


def test_a_finished_run_is_written_and_the_following_ends(tmp_path):
    write_train(tmp_path, "sft", "sft", offline_metrics(2, pairs=False))
    pauses = []
    page = follow(tmp_path, sleep=pauses.append)
    assert "<script" not in page.read_text()
    assert len(pauses) == 1


def test_the_page_grows_with_the_run_and_stops_reloading_when_it_ends(tmp_path):
    write_train(tmp_path, "sft", "sft", offline_metrics(2, pairs=False), done=False)
    metrics, pages = tmp_path / "sft" / "metrics.jsonl", []
    with ExitStack() as running:
        running.enter_context(locked(tmp_path))

        def sleep(seconds):
            assert seconds >= following.LOOK_SECONDS
            pages.append((tmp_path / "report.html").read_text())
            if len(pages) == 1:
                with metrics.open("a") as file:
                    file.write(json.dumps({"step": 3, "loss": 0.5}) + '\n{"step": 4, "lo')
            if len(pages) == 3:
                running.close()

        last = follow(tmp_path, sleep=sleep).read_text()
    assert ["steps done" in page and "<script" in page for page in pages[:3]] == [True] * 3
    assert "2 steps done" in pages[0]
    assert "3 steps done" in pages[1]
    assert pages[1] == pages[2]  # nothing changed, so it was not written again
    assert "<script" not in last
    assert "This run is not finished" in last


def test_a_file_that_is_damaged_for_a_moment_does_not_end_the_following(tmp_path):
    write_train(tmp_path, "sft", "sft", offline_metrics(2, pairs=False), done=False)
    summary, pauses = tmp_path / "sft" / "summary.json", []
    summary.write_text("{")
    with ExitStack() as running:
        running.enter_context(locked(tmp_path))

        def sleep(seconds):
            pauses.append(seconds)
            assert (tmp_path / "report.html").is_file() == (len(pauses) > 1)
            if len(pauses) == 1:
                summary.write_text("{}")
            if len(pauses) == 2:
                running.close()

        follow(tmp_path, sleep=sleep)


def test_where_no_run_begins_that_is_told(tmp_path):
    waited = []
    with pytest.raises(UserError, match="no run began here"):
        follow(tmp_path / "absent", sleep=waited.append)
    assert sum(waited) == following.BEGIN_SECONDS


@pytest.mark.parametrize(("display", "opened"), [("", []), (":0", ["file://"])])
def test_the_page_is_opened_once_and_only_where_there_is_a_window(tmp_path, monkeypatch, display, opened):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    calls = []
    monkeypatch.setattr("webbrowser.open", lambda address: calls.append(address[:7]))
    write_train(tmp_path, "sft", "sft", offline_metrics(2, pairs=False))
    follow(tmp_path, show=True, sleep=lambda seconds: None)
    assert calls == opened
