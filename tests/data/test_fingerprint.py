"""A fingerprint follows the data's contents and how they are read, not where they lie."""

from tiny_data import pair

from alignkit.data.fingerprint import data_fingerprint
from alignkit.recipe import DataEntry


def test_a_fingerprint_follows_contents_and_settings(write, tmp_path):
    path = write(pair())
    first = data_fingerprint(DataEntry(path=str(path)))
    assert first == data_fingerprint(DataEntry(path=str(path)))
    assert first != data_fingerprint(DataEntry(path=str(path), limit=1))
    write(pair("other"))
    assert first != data_fingerprint(DataEntry(path=str(path)))
    folder = DataEntry(path=str(tmp_path))
    before = data_fingerprint(folder)
    path.rename(tmp_path / "renamed.jsonl")
    assert before != data_fingerprint(folder)
    assert data_fingerprint(DataEntry(path="some/hub-name", revision="a")) != data_fingerprint(
        DataEntry(path="some/hub-name", revision="b")
    )


def test_a_fingerprint_does_not_depend_on_how_the_path_is_spelled(write, tmp_path, monkeypatch):
    path = write(pair())
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "elsewhere" / "other name.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    spellings = (str(path), path.name, f"./{path.name}", f"elsewhere/../{path.name}", str(copy))
    assert len({data_fingerprint(DataEntry(path=spelling)) for spelling in spellings}) == 1
    assert data_fingerprint(DataEntry(path=str(tmp_path / "elsewhere"))) == data_fingerprint(
        DataEntry(path="./elsewhere")
    )


def test_a_fingerprint_follows_how_the_data_is_read(write):
    path = write(pair())
    changes = (
        {"format": "preference"},
        {"rename": {"a": "b"}},
        {"skip": 1},
        {"limit": 1},
        {"on_bad": "error"},
        {"split": "test"},
        {},
    )
    assert len({data_fingerprint(DataEntry(path=str(path), **change)) for change in changes}) == len(changes)
    as_csv = path.with_suffix(".csv")
    as_csv.write_bytes(path.read_bytes())
    assert data_fingerprint(DataEntry(path=str(path))) != data_fingerprint(DataEntry(path=str(as_csv))), (
        "the suffix decides on the reader"
    )
