"""Completions as rows."""

from alignkit import Example
from alignkit.stages.rows import as_row


def test_a_row_has_the_completions_what_was_added_and_the_datas_other_columns():
    example = Example("p", ("a", "b"), {"finished": (1.0, 0.0)}, {"answer": "4"})
    assert as_row(example, ranks=[0, 1]) == {
        "answer": "4",
        "prompt": "p",
        "completions": ["a", "b"],
        "finished": [True, False],
        "ranks": [0, 1],
    }
    assert "finished" not in as_row(Example("p", ("a",)))
