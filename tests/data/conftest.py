"""Fixtures of the tests of data."""

import json

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes rows to a JSONL file and returns its path; a row given as text is written as it is."""

    def write(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write
