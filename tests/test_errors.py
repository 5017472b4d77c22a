"""The user's mistakes, and nearest names."""

import functools
import json

import pytest

from alignkit.errors import UserError, first_line, named, nearest, raised_at


def test_a_mistake_has_its_place_before_it_and_the_mend_below_it():
    assert str(UserError("no such key", where="a.b", hint="Remove it.")) == "a.b: no such key\nRemove it."
    assert str(UserError("no such key")) == "no such key"


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("sftt", ["sft", "dpo"], "Did you mean 'sft'? Known: dpo, sft."),
        ("zzz", ["sft"], "Known: sft."),
        ("zzz", [], "Known: none."),
    ],
)
def test_the_nearest_name_is_offered_and_all_are_listed(name, known, text):
    assert nearest(name, known) == text


def test_the_first_line_of_an_error_without_a_message_is_its_class():
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"


def parse(text):
    return json.loads(text)


LINE = parse.__code__.co_firstlineno + 1


def caught(call):
    with pytest.raises(Exception) as error:  # noqa: PT011 - whatever the plugin raises
        call()
    return error.value


@functools.wraps(parse)
def wrapped(*args):
    return parse(*args)


@pytest.mark.parametrize("plugin", [None, parse, wrapped, functools.partial(parse, "{"), functools])
def test_the_innermost_line_of_the_plugin_counts_also_where_a_library_raised(plugin):
    expected = f"test_errors.py:{LINE}"
    assert raised_at(caught(lambda: parse("{")), plugin) == expected


def test_an_object_stands_for_the_file_of_its_class():
    class Mine:
        def work(self):
            parse("{")

    assert raised_at(caught(Mine().work), Mine()) == f"test_errors.py:{LINE}"


def test_a_function_that_never_began_is_named_by_its_first_line():
    assert raised_at(TypeError("unexpected keyword argument"), parse) == f"test_errors.py:{LINE - 1}"


def test_a_file_that_is_no_python_has_the_line_of_the_mistake():
    error = caught(lambda: compile("x = 1\ny = (", "/somewhere/mine.py", "exec"))
    assert raised_at(error) == "mine.py:2"


def test_a_text_that_is_no_python_is_not_taken_for_the_plugins_file():
    def run_code():
        compile("x = (", "<answer>", "exec")

    line = run_code.__code__.co_firstlineno + 1
    assert raised_at(caught(run_code), run_code) == f"test_errors.py:{line}"


def test_the_file_of_a_package_is_named_with_the_package():
    error = caught(lambda: exec(compile("\n1 / 0", "/somewhere/mine/__init__.py", "exec"), {}))
    assert raised_at(error) == "mine/__init__.py:2"


def test_what_a_plugin_registered_is_named_with_the_plugin_where_one_did():
    assert named("reward", "odd", "mine") == "reward 'odd' of plugin 'mine'"
    assert named("format", "prompts") == "format 'prompts'"
