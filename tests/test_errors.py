"""The user's mistakes, and nearest names."""

import pytest

from alignkit.errors import UserError, first_line, nearest


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
