"""The format of a row is a plugin's or a built-in one, and what it returns is checked."""

import math

import pytest

from alignkit import BadExample, Example, UserError
from alignkit.data.builtin_formats import BUILT_IN
from alignkit.data.formats import choose, parse, rename_hint
from alignkit.registry import Format


def read(row, wanted="auto", formats=None):
    return parse(choose(row, wanted, formats or {}, "f:1", "data.x"), row, "f:1")


def test_the_columns_of_a_plugins_format_are_settled_too():
    def plugin(**columns):
        return {"mine": Format("mine", lambda row: True, lambda row: Example("q", ("a", "b"), columns))}

    assert read({}, formats=plugin(rank=(1.7e9 + 1, 1.7e9))).columns == {"rank": (1.0, 0.0)}
    with pytest.raises(BadExample, match="'margin' is not a finite number"):
        read({}, formats=plugin(margin=(math.inf, 0.0)))


def test_a_plugins_format_comes_before_the_built_in_ones():
    own = Format("own", lambda row: "prompt" in row, lambda row: Example("own " + row["prompt"]))
    assert read({"prompt": "q", "completion": "a"}, formats={"own": own}).prompt == "own q"
    assert read({"prompt": "q", "completion": "a"}, "prompt-completion", {"own": own}).prompt == "q"


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'preference'") as error:
        read({"prompt": "q"}, "preferance")
    assert error.value.where == "data.x.format"


def test_a_row_that_no_format_fits_is_shown_beside_what_is_expected():
    with pytest.raises(UserError) as error:
        read({"promt": "q", "answer": "a"})
    message = str(error.value)
    assert "f:1" in message
    assert "promt, answer" in message
    assert all(name in message for name in BUILT_IN)
    assert "rename: {promt: prompt}" in message


def test_a_named_format_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="'preference' does not fit"):
        read({"prompt": "q", "completion": "a"}, "preference")


@pytest.mark.parametrize(
    ("parse_row", "message"),
    [
        (lambda row: row["absent"], "KeyError"),
        (lambda row: "text", "not an Example"),
        (lambda row: Example("q", ("a",), {"rank": (0.0, 1.0)}), "another length"),
    ],
)
def test_a_plugins_mistake_is_named(parse_row, message):
    with pytest.raises(UserError, match=message):
        read({"x": 1}, formats={"own": Format("own", lambda row: True, parse_row)})


def test_the_plugin_of_a_format_that_fails_is_named_with_its_line():
    def broken(row):
        return row["absent"]

    line = broken.__code__.co_firstlineno + 1
    expected = rf"the format 'own' of plugin 'mine' fails: KeyError: 'absent' \(test_formats.py:{line}\)"
    with pytest.raises(UserError, match=expected):
        read({"x": 1}, formats={"own": Format("own", lambda row: True, broken, plugin="mine")})


def test_a_plugins_example_is_checked_like_any_other():
    with pytest.raises(BadExample, match="role is none of"):
        read(
            {"x": 1},
            formats={
                "own": Format("own", lambda row: True, lambda row: Example([{"role": "x", "content": ""}]))
            },
        )


def test_a_plugins_format_is_expected_by_its_columns_or_as_a_plugins():
    formats = {
        "plain": Format("plain", lambda row: False, lambda row: Example("q")),
        "listed": Format("listed", lambda row: False, lambda row: Example("q"), ("one", "two")),
    }
    with pytest.raises(UserError) as error:
        read({"x": 1}, formats=formats)
    assert "plain (of a plugin)" in str(error.value)
    assert "listed: one, two" in str(error.value)


@pytest.mark.parametrize(
    ("row", "wanted", "hint"),
    [
        ({"promt": 1}, [("prompt",)], "`rename: {promt: prompt}`"),
        ({"other": 1}, [("prompt",)], "`rename: {FOUND: EXPECTED}`"),
        ({"prompt": 1}, [("prompt", "chosen")], None),
        ({"other": 1}, [()], None),
    ],
)
def test_a_renaming_is_offered_where_a_column_is_free(row, wanted, hint):
    lines = rename_hint(row, wanted)
    assert [hint in line for line in lines] == ([True] if hint else [])
