"""What `run` says of the page when a run is done; whole runs are in tests/test_pipeline.py."""

from fake_run import offline_metrics, write_train

from alignkit.commands.run import _report


def test_the_page_is_written_and_named(tmp_path):
    write_train(tmp_path, "sft", "sft", offline_metrics(2, pairs=False))

    assert _report(tmp_path) == f"Report: {tmp_path / 'report.html'}"
    assert (tmp_path / "report.html").is_file()


def test_a_page_that_cannot_be_written_is_told_and_fails_nothing(tmp_path):
    assert _report(tmp_path).startswith("The report could not be written: UserError: ")
