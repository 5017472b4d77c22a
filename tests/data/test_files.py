"""Every layout of file gives its rows with their places; what cannot be read becomes a BadExample at its
line.
"""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit import BadExample, UserError
from alignkit.data.files import count_rows, read_file


def rows(path):
    """(line or row number, row or reason) of each row."""
    found = []
    for place, row in read_file(path, "data.x.path"):
        assert place.startswith(str(path))
        number = int(place.removeprefix(str(path)).removeprefix(":").removeprefix(" row "))
        found.append((number, str(row) if isinstance(row, BadExample) else row))
    return found


def test_jsonl_rows_have_their_lines_and_blank_lines_are_none(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": 1}\n\n{"a": "é\u2028"}\r\n'.encode())
    assert rows(path) == [(1, {"a": 1}), (3, {"a": "é\u2028"})]


def test_unreadable_lines_are_reported_and_the_others_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \n[1]\n"x"\n{"a": "\xff"}\n{"a": 2}')
    assert rows(path) == [
        (1, {"a": 1}),
        (2, "not valid JSON"),
        (3, "not a JSON object"),
        (4, "not a JSON object"),
        (5, "not UTF-8 text"),
        (6, {"a": 2}),
    ]


def test_a_truncated_gzip_gives_its_whole_lines_and_one_bad_row(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(b'{"a": %d}\n' % number for number in range(2000)))[:-200])
    *whole, last = rows(path)
    assert whole
    assert whole == [(number, {"a": number - 1}) for number in range(1, len(whole) + 1)]
    assert last[0] == len(whole) + 1
    assert "gzip" in last[1]


def test_a_gz_that_is_no_gzip_is_one_bad_row(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b'{"a": 1}\n')
    assert [number for number, _ in rows(path)] == [1]


def test_elements_of_a_json_array_have_the_lines_where_they_begin(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\n[\n  {"a": 1},\n  {\n    "a": 2\n  }, {"a": 3},\n  7\n]\n')
    assert rows(path) == [(3, {"a": 1}), (4, {"a": 2}), (6, {"a": 3}), (7, "not a JSON object")]


@pytest.mark.parametrize("text", ['[{"a": 1}\n{"a": 2}]', '[{"a": 1},\n{"a": }]', '[{"a": 1}\n'])
def test_after_a_syntax_error_the_rest_of_an_array_is_one_bad_row(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    first, second = rows(path)
    assert first == (1, {"a": 1})
    assert second == (2, "not valid JSON; nothing after this place can be read")


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=3), st.text(max_size=5) | st.integers() | st.lists(st.booleans()), max_size=3
        ),
        max_size=6,
    )
)
@settings(max_examples=40, deadline=None)
def test_jsonl_and_an_array_of_the_same_rows_read_alike(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "a.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    (folder / "a.json").write_text(json.dumps(values, indent=1))
    assert (
        [row for _, row in rows(folder / "a.jsonl")] == values == [row for _, row in rows(folder / "a.json")]
    )


def test_csv_cells_span_lines_and_bad_lines_are_reported(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'prompt,completion\n"a\nb",c\nonly\nd,\xff\ne,\n')
    assert rows(path) == [
        (2, {"prompt": "a\nb", "completion": "c"}),
        (4, "the line has another number of cells than the header"),
        (5, "not UTF-8 text"),
        (6, {"prompt": "e", "completion": ""}),
    ]


def test_a_csv_cell_may_be_as_long_as_it_likes(tmp_path):
    path = tmp_path / "a.csv"
    long = "word\n" * 100_000
    path.write_text(f'prompt,completion\na,b\nc,"{long}"\nd,e\n')
    assert [row for _, row in rows(path)] == [
        {"prompt": "a", "completion": "b"},
        {"prompt": "c", "completion": long},
        {"prompt": "d", "completion": "e"},
    ]


@pytest.mark.parametrize("broken", ['c,"d"e\nf,g\n', 'c,"d\nf,g\n', 'c,"d" \nf,"g\nh,i"\n'])
def test_after_a_syntax_error_the_rest_of_a_csv_file_is_one_bad_row(tmp_path, broken):
    path = tmp_path / "a.csv"
    path.write_text(f"prompt,completion\na,b\n{broken}")
    assert rows(path) == [
        (2, {"prompt": "a", "completion": "b"}),
        (3, "not valid CSV; nothing after this place can be read"),
    ]


def test_a_csv_gzip_that_ends_inside_a_cell_is_told_as_that(tmp_path):
    path = tmp_path / "a.csv.gz"
    text = "prompt,completion\na,b\n" + 'c,"' + "".join(f"line {number}\n" for number in range(9000))
    path.write_bytes(gzip.compress(text.encode())[:-200])
    first, second = rows(path)
    assert first == (2, {"prompt": "a", "completion": "b"})
    assert "gzip" in second[1]


def test_parquet_rows_are_numbered(tmp_path):
    from pyarrow import Table, parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(Table.from_pylist([{"a": 1, "m": [{"role": "user"}]}, {"a": None, "m": []}]), path)
    assert rows(path) == [(1, {"a": 1, "m": [{"role": "user"}]}), (2, {"a": None, "m": []})]


def test_a_broken_parquet_file_is_the_users_mistake(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="no readable Parquet"):
        rows(path)


def test_an_unknown_suffix_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="suffix"):
        rows(tmp_path / "a.xlsx")


def test_rows_are_counted_before_they_are_read_where_that_is_cheap(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    contents = {
        "a.jsonl": b'{}\n{"a": 1}\n{"a": 2}',
        "b.jsonl.gz": gzip.compress(b'{"a": 1}\n' * 500),
        "c.csv": b"a,b\n1,2\n3,4\n",
        "d.json": b'\xef\xbb\xbf [\n{"a": 1},\n{"a": 2}]',
        "e.jsonl.gz": b"no gzip",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    parquet.write_table(pyarrow.table({"a": list(range(7))}), tmp_path / "f.parquet")
    (tmp_path / "g.parquet").write_bytes(b"no parquet")
    found = {path.name: count_rows(path) for path in sorted(tmp_path.iterdir())}
    expected = {"a.jsonl": 3, "b.jsonl.gz": 500, "c.csv": 3, "d.json": None, "f.parquet": 7}
    assert found == {**expected, "e.jsonl.gz": None, "g.parquet": None}
