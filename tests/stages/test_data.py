"""The data that stages name."""

import pytest

from alignkit import UserError
from alignkit.recipe import DataEntry
from alignkit.run.folder import RunFolder
from alignkit.stages.data import StageData


@pytest.fixture
def data(tmp_path):
    entries = {"pairs": DataEntry(path="pairs.jsonl", limit=3)}
    return StageData(entries, RunFolder(tmp_path), None, {}, print)  # type: ignore[arg-type]


def test_a_name_is_an_entry_of_the_recipe_or_what_a_stage_wrote(data):
    assert data.entry("pairs").limit == 3
    stage = data.run.stage("drawn")
    stage.path.mkdir()
    stage.samples.write_text("")
    assert data.entry("drawn").path == str(stage.samples)


def test_a_stage_that_wrote_no_rows_is_told(data):
    with pytest.raises(UserError, match="the stage 'sft' wrote no data"):
        data.entry("sft")
