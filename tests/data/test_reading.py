"""Where data lies is told from its path; what is missing is named with what is there."""

import json

import pytest

from alignkit import UserError
from alignkit.data.reading import is_local, read_rows
from alignkit.recipe import DataEntry


def read(path, **settings):
    return [row for _, row in read_rows(DataEntry(path=str(path), **settings), "data.x")]


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"question": "q", "answer": "a"}) + "\n")
    return path


def test_a_path_is_local_by_its_shape_and_else_a_hub_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert all(map(is_local, ["a.jsonl", "b/c.csv", "x.jsonl.gz", "./a", "/a", "folder", "~/a"]))
    assert not any(map(is_local, ["Anthropic/hh-rlhf", "imdb"]))


def test_a_missing_file_names_the_nearest_one(pairs):
    with pytest.raises(UserError) as error:
        read(pairs.with_name("pair.jsonl"))
    assert error.value.where == "data.x.path"
    assert "Did you mean" in str(error.value)
    assert "pairs.jsonl" in str(error.value)


def test_a_missing_folder_is_named_rather_than_the_file_in_it(pairs):
    with pytest.raises(UserError, match=r"nowhere' does not exist"):
        read(pairs.parent / "nowhere" / "a.jsonl")


def test_a_file_has_no_split_but_train(pairs):
    with pytest.raises(UserError, match="only the split 'train', found 'test'"):
        read(pairs, split="test")


def test_a_revision_of_a_file_has_no_meaning(pairs):
    with pytest.raises(UserError, match="revision 'main' has no meaning"):
        read(pairs, revision="main")


def test_columns_are_renamed(pairs):
    assert read(pairs, rename={"question": "prompt"}) == [{"prompt": "q", "answer": "a"}]
    assert read(pairs, rename={"question": "answer", "answer": "question"}) == [
        {"answer": "q", "question": "a"}
    ]


@pytest.mark.parametrize(
    ("rename", "message"),
    [({"questio": "prompt"}, "Did you mean 'question'"), ({"question": "answer"}, "Rename 'answer' too")],
)
def test_a_rename_that_cannot_be_done_is_refused(pairs, rename, message):
    with pytest.raises(UserError) as error:
        read(pairs, rename=rename)
    assert error.value.where == "data.x.rename"
    assert message in str(error.value)


def test_a_saved_folder_is_read_with_and_without_splits(tmp_path):
    from datasets import Dataset, DatasetDict

    table = Dataset.from_list([{"prompt": "a"}, {"prompt": "b"}])
    table.save_to_disk(tmp_path / "one")
    DatasetDict({"test": table}).save_to_disk(tmp_path / "many")
    assert (
        read(tmp_path / "one") == read(tmp_path / "many", split="test") == [{"prompt": "a"}, {"prompt": "b"}]
    )
    with pytest.raises(UserError, match=r"no split 'train'\n.*Known: test"):
        read(tmp_path / "many")


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="save_to_disk"):
        read(tmp_path)


def test_a_hub_name_that_cannot_be_reached_is_one_message(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="the hub does not give it") as error:
        read("nobody/nothing-of-this-name")
    assert error.value.where == "data.x.path"
