"""`metrics.jsonl`, written, cut off by a crash, and read."""

import pytest

from alignkit.run.metrics import MetricsFile, read_metrics


def test_a_resumed_run_drops_the_lines_after_its_checkpoint(tmp_path):
    file = tmp_path / "metrics.jsonl"
    first = MetricsFile(file, 0)
    for step in (1, 2, 3):
        first.write(step, {"loss": step / 2})
    MetricsFile(file, 2).write(3, {"loss": 9.0})
    assert [(line["step"], line["loss"]) for line in read_metrics(file)] == [(1, 0.5), (2, 1.0), (3, 9.0)]
    MetricsFile(file, 0)
    assert read_metrics(file) == []


def test_a_last_line_that_a_crash_cut_off_is_left_out(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"st')
    assert read_metrics(file) == [{"step": 1}]
    file.write_text('{"st\n{"step": 1}\n')
    with pytest.raises(ValueError, match="Unterminated"):
        read_metrics(file)


def test_without_a_file_there_are_no_metrics(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []
