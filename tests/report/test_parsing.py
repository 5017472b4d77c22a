"""Files that may still be growing."""

import pytest

from alignkit.errors import UserError
from alignkit.report.parsing import count_rows, read_json, read_rows


def test_a_line_that_is_still_being_written_is_left_out(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n{"a": 3')
    assert read_rows(file, lambda row: row["a"]) == (1, 2)
    assert count_rows(file) == 2


def test_only_the_first_lines_are_read(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": 2}\nnonsense\n')
    assert read_rows(tmp_path / "rows.jsonl", lambda row: row["a"], most=2) == (1, 2)


def test_a_bad_line_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"b": 2}\n')
    with pytest.raises(UserError) as caught:
        read_rows(tmp_path / "rows.jsonl", lambda row: row["a"])
    assert caught.value.where == f"{tmp_path / 'rows.jsonl'}, line 2"


def test_a_separator_inside_a_text_ends_no_line(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": "one\u2028line"}\n', encoding="utf-8")
    assert read_rows(tmp_path / "rows.jsonl", lambda row: row["a"]) == ("one\u2028line",)


def test_no_file_says_nothing(tmp_path):
    assert read_json(tmp_path / "absent.json") is None
    assert read_rows(tmp_path / "absent.jsonl", lambda row: row) == ()
