"""The report tells how many rows are usable, and why the others are not."""

import pytest

from alignkit import BadExample, Group, UserError
from alignkit.data.report import Dropped, Report, Tally, enforce


def report(examples, **dropped):
    return Report("pairs", 9, examples, 0, 0, 0, 0, dropped)


def test_the_report_reads_as_text():
    tally = Tally("pairs", rows=3)
    tally.keep(Group([1, 2], ([3], [4, 5]), truncated=True))
    tally.drop(BadExample("empty completion"), "f:2")
    tally.drop(BadExample("empty completion"), "f:3")
    assert tally.report().lines() == [
        "pairs: 1 of 3 rows usable; 2 completions, 2 prompt tokens, 3 completion tokens",
        "  1 prompts lost their beginning to fit the maximum length",
        "  2 dropped: empty completion (first at f:2)",
    ]


def test_a_report_of_prompts_names_no_completions_and_blank_ones_are_not_shown():
    tally = Tally("prompts", rows=1, blank=2)
    tally.keep(Group([1, 2]))
    assert tally.report().lines() == ["prompts: 1 of 1 rows usable; 2 prompt tokens, 0 completion tokens"]
    assert tally.report().to_dict()["blank"] == 2


def test_reasons_are_told_the_most_frequent_first():
    assert report(1, rare=Dropped(1, "f:1"), frequent=Dropped(2000, "f:2")).dropped_lines() == [
        "2,000 dropped: frequent (first at f:2)",
        "1 dropped: rare (first at f:1)",
    ]


def test_a_report_does_not_change_while_counting_goes_on():
    tally = Tally("pairs")
    before = tally.report()
    tally.drop(BadExample("late"), "f:1")
    assert before.dropped == {}


def test_dropped_rows_are_an_error_only_where_they_must_not_be():
    enforce(report(1, bad=Dropped(2, "f:1")), "skip", "data.x")
    with pytest.raises(UserError, match="2 of 9 rows cannot be used") as error:
        enforce(report(1, bad=Dropped(2, "f:1")), "error", "data.x")
    assert error.value.where == "data.x"
    assert "2 dropped: bad (first at f:1)" in str(error.value)
    assert "on_bad: skip" in str(error.value)


def test_data_without_a_usable_row_is_an_error_with_every_reason():
    with pytest.raises(UserError, match="none of 9 rows can be used") as error:
        enforce(report(0, bad=Dropped(2, "f:1"), worse=Dropped(7, "f:3")), "skip", "data.x")
    assert "bad (first at f:1)" in str(error.value)
    assert "worse (first at f:3)" in str(error.value)
    with pytest.raises(UserError, match="The data is empty"):
        enforce(Report("pairs", 0, 0, 0, 0, 0, 0), "skip", "data.x")
