"""Finding the files of data entries."""

import pytest

from alignkit import UserError
from alignkit.recipe import DataEntry
from alignkit.registry import Registry
from alignkit.stages.entries import resolve


@pytest.fixture(scope="module")
def registry():
    return Registry()


def test_a_relative_path_is_looked_for_here_and_then_beside_the_recipe(registry, tmp_path, monkeypatch):
    beside = tmp_path / "recipes"
    beside.mkdir()
    (beside / "rows.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    assert resolve(DataEntry(path="rows.jsonl"), beside, "data.x", registry).path == str(
        beside / "rows.jsonl"
    )
    (tmp_path / "rows.jsonl").write_text("")
    assert resolve(DataEntry(path="rows.jsonl"), beside, "data.x", registry).path == "rows.jsonl"


def test_a_hub_name_stays(registry, tmp_path):
    entry = DataEntry(path="owner/data")
    assert resolve(entry, tmp_path, "data.x", registry) is entry


@pytest.mark.parametrize(
    ("entry", "where", "words"),
    [
        ({"path": "owner/data", "format": "hh-rlfh"}, "data.x.format", "Did you mean 'hh-rlhf'"),
        ({"path": "./absent/rows.jsonl"}, "data.x.path", "There is no folder 'absent' either"),
    ],
)
def test_what_is_not_there_is_told_with_its_place(registry, tmp_path, monkeypatch, entry, where, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        resolve(DataEntry(**entry), tmp_path, "data.x", registry)
    assert caught.value.where == where
