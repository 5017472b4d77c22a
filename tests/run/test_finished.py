"""The adapter that a finished stage left, for commands that are given RUN/STAGE."""

import pytest

from alignkit.errors import UserError
from alignkit.run.finished import finished_adapter
from alignkit.run.folder import StageFolder
from alignkit.run.manifest import Inputs, begin, finish


@pytest.fixture
def stage(tmp_path):
    folder = StageFolder(tmp_path / "run" / "sft")
    folder.adapter.mkdir(parents=True)
    (folder.adapter / "adapter_config.json").write_text("{}")
    finish(folder, begin(folder, Inputs("0", "train", {}, {}, {}, 0, {}), "", {}))
    return folder


def test_the_adapter_comes_with_the_manifest(stage):
    adapter, manifest = finished_adapter(stage.path)
    assert adapter == stage.adapter
    assert manifest.inputs.verb == "train"


def test_a_stage_without_an_adapter_is_told_with_those_that_have_one(stage):
    with pytest.raises(UserError, match=r"(?s)holds no trained adapter.*stages there: sft\."):
        finished_adapter(stage.path.parent / "samples")


def test_an_unfinished_stage_is_refused(stage):
    begin(stage, Inputs("0", "train", {}, {}, {}, 0, {}), "", {})
    with pytest.raises(UserError, match="is not finished"):
        finished_adapter(stage.path)


def test_a_changed_adapter_is_refused(stage):
    (stage.adapter / "adapter_config.json").write_text("{ }")
    with pytest.raises(UserError, match=r"adapter_config\.json is missing or was changed"):
        finished_adapter(stage.path)
