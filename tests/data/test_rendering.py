"""The places of the data in a rendered text are known, and templates are given one fixed date."""

import pytest
from tiny_tokenizers import CHATML, TRIMMING, assistant, byte_tokenizer, user

from alignkit import BadExample, UserError
from alignkit.data.rendering import DATE, Rendered, render

ASKING = "{{ strftime_now(asked) }}{% for m in messages %}{{ m['content'] }}{% endfor %}"


def rendered(template):
    return render(byte_tokenizer(template), [user("hello")], generation_prompt=True).text


@pytest.mark.parametrize(
    "asked", ["%d %b %Y", "%Y-%m-%d", "%A, %-d. %B %y", "%H:%M:%S", "100 %%", "%F, the day %j", "no date"]
)
def test_a_template_is_told_one_date_in_the_form_that_it_asks_for(asked):
    assert rendered(ASKING.replace("asked", repr(asked))) == DATE.strftime(asked) + "hello"


@pytest.mark.parametrize(
    "start",
    ["", "\n", "  ", " \n ", "  {% if true %}x{% endif %}", "{%- if true %}\n x{% endif %}", "{# note #}\n"],
)
def test_nothing_else_of_a_template_that_writes_the_date_is_changed(start):
    body = start + "[DATE]\n" + CHATML
    expected = rendered(body).replace("[DATE]", "2024")
    assert rendered(body.replace("[DATE]", "{{ strftime_now('%Y') }}")) == expected


def test_the_date_is_known_inside_loops_and_macros_and_to_filters():
    template = (
        "{% macro day() %}{{ strftime_now('%b') | upper }}{% endmacro %}{% for m in messages %}{{ day() + "
        "strftime_now('%d') }}{% endfor %}"
    )
    assert rendered("{% if strftime_now is defined %}" + template + "{% endif %}") == "JUL26"


def test_the_tokenizer_itself_still_reads_the_clock():
    template = "{{ strftime_now('%Y') }}"
    tokenizer = byte_tokenizer(template)
    assert rendered(template) == "2024"
    assert tokenizer.chat_template == template
    assert int(tokenizer.apply_chat_template([user("hello")], tokenize=False)) > 2024


def test_the_templates_refusal_is_the_reason():
    refusing = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(BadExample, match="roles must alternate"):
        render(byte_tokenizer(refusing), [user("a")], generation_prompt=True)


@pytest.mark.parametrize("content", ["a", " a ", "a\n", "\ta", ""])
def test_the_places_of_contents_are_found_whether_or_not_the_template_strips(content):
    for template, expected in ((CHATML, content), (TRIMMING, content.strip())):
        rendered = render(byte_tokenizer(template), [user(content), assistant("b")], generation_prompt=False)
        assert rendered.spans is not None
        assert [rendered.text[start:end] for start, end in rendered.spans] == [expected, "b"]


def test_the_places_are_unknown_where_the_template_changes_or_inspects_the_contents():
    for template in (
        CHATML.replace("m['content']", "m['content'] | upper"),
        CHATML.replace("m['content']", "(raise_exception('no') if m['content'] != 'a' else 'a')"),
    ):
        found = render(byte_tokenizer(template), [user("a")], generation_prompt=False)
        assert found.spans is None
        assert found.cut(0, 4) == Rendered("<|im", None)


def test_a_part_of_a_text_knows_the_places_of_the_data_in_it():
    whole = Rendered("[hello][you]", ((1, 6), (8, 11)))
    assert whole.cut(3, 10) == Rendered("llo][yo", ((0, 3), (5, 7)))
    assert whole.cut(6, 8) == Rendered("][", ())


def test_a_conversation_needs_a_template():
    with pytest.raises(UserError, match="no chat template"):
        render(byte_tokenizer(), [user("a")], generation_prompt=True)


def test_each_place_knows_the_message_that_it_is_of():
    messages = [user("a"), {**assistant("b"), "name": "c"}, user("d")]
    template = CHATML.replace("+ m['content']", "+ (m['name'] or '') + m['content']")
    found = render(byte_tokenizer(template), messages, generation_prompt=False)
    assert found.spans is not None
    said = [
        (owner, found.text[start:end]) for owner, (start, end) in zip(found.owners, found.spans, strict=True)
    ]
    assert said == [(0, "a"), (1, "c"), (1, "b"), (2, "d")]
    assert found.cut(found.spans[2][0], len(found.text)).owners == (1, 2)
