"""The places of a run."""

from pathlib import Path

from alignkit.run.folder import RunFolder


def test_a_role_starts_from_a_stages_adapter_or_from_the_base():
    run = RunFolder(Path("runs/x"))
    assert run.start("sft") == Path("runs/x/sft/adapter")
    assert run.start("base") is None
    assert run.start(None) is None


def test_what_a_label_stage_wrote_is_read_rather_than_samples(tmp_path):
    stage = RunFolder(tmp_path).stage("one")
    assert stage.data is None
    stage.path.mkdir()
    stage.samples.write_text("")
    assert stage.data == stage.samples
    stage.ranked.write_text("")
    assert stage.data == stage.ranked
