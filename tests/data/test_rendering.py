"""Templates that write the date write one and the same, and are otherwise left as they are."""

import pytest
from tiny_tokenizers import CHATML, byte_tokenizer, user

from alignkit.data.rendering import DATE, render

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
