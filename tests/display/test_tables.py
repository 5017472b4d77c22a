"""Tables of measures on a console, and how long the stages took."""

import io
import re

import pytest
from rich.console import Console

from alignkit.display import TerminalDisplay
from alignkit.display.tables import durations, plain

TARGETS = {
    name: {
        measure: {"mean": 10 + row + column / 8, "low": -1.25, "high": 123.5, "count": 3}
        for column, measure in enumerate(
            ["judge", "letters", "win_rate/judge", "win_rate/letters", "kl", "length", "distinct-2"]
        )
    }
    for row, name in enumerate(["base", "ppo", "ppo best of 4"])
}


def shown(targets, width):
    out = io.StringIO()
    TerminalDisplay(Console(file=out, width=width)).table(targets)
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_names_and_numbers_stay_whole_whatever_the_width(width):
    text = shown(TARGETS, width)
    for name, values in TARGETS.items():
        assert name in text
        for measure, value in values.items():
            assert measure in text
            assert f"{value['mean']:.3f}" in text
    assert text.count("-1.25…123.50") == 3 * 7
    if width >= 40:
        assert max(map(len, text.splitlines())) <= width


def test_a_measure_that_a_target_lacks_or_that_is_of_nothing_is_left_empty():
    nothing = {"mean": None, "low": None, "high": None, "count": 0}
    whole = {"mean": 1.0, "low": None, "high": None, "count": 2}
    lines = shown({"one": {"kl": whole, "length": nothing}, "two": {"length": whole}}, 80).splitlines()
    places = [
        [match.end() for match in re.finditer("kl|length|1.000", line)]
        for line in lines
        if "kl" in line or "1.000" in line
    ]
    kl, length = places[0]
    assert places[1:] == [[kl], [length]]
    assert "None" not in "".join(lines)


def test_names_are_shown_as_they_are_whatever_markup_they_look_like():
    value = {"mean": 1.0, "low": None, "high": None, "count": 2}
    text = shown({"[/b] :smile:": {"[red]kl": value}}, 80)
    assert "[/b] :smile:" in text
    assert "[red]kl" in text


def test_escape_sequences_do_not_reach_the_console():
    assert plain("a\x1b[31m b\r\x9bc\nd") == "a\ufffd[31m b\ufffd\ufffdc\nd"


def test_each_stage_has_its_time_and_a_skipped_one_says_so():
    assert durations({"sft": 75.2, "judge": None, "ppo": 3720.0}) == (
        "  sft       1 min 15 s\n  judge     skipped\n  ppo       1 h 02 min\n  together  1 h 03 min"
    )


def test_a_measure_that_no_target_has_is_left_out():
    nothing = {"mean": None, "low": None, "high": None, "count": 0}
    known = {"mean": 1.0, "low": 0.5, "high": 1.5, "count": 3}
    text = shown({"base": {"kl": nothing, "length": nothing}, "ppo": {"kl": nothing, "length": known}}, 80)
    assert "kl" not in text
    assert "length" in text
