"""Of a completion of several turns the assistant's are the policy's, without the headers that open them."""

import pytest
from tiny_tokenizers import (
    CHATML,
    HEADED,
    TRIMMING,
    WITHOUT_END,
    assistant,
    byte_tokenizer,
    prefixing_tokenizer,
    tool,
    user,
)

from alignkit import BadExample
from alignkit.data.encoding import Encoder
from alignkit.data.turns import Turns

TALK = [assistant("one"), tool("two"), assistant(" three"), user("four"), assistant("five")]
THINKING = CHATML.replace("+ m['content']", "+ (m['thinking'] + '~' if m['thinking'] else '') + m['content']")
FORGETTING = CHATML.replace(
    "{% for m in messages %}",
    "{{ 'now ' + messages[-1]['role'] + '\n' if not add_generation_prompt or messages | length == 1 }}"
    "{% for m in messages %}",
).replace("messages[-1]['role']", "'assistant'")


def turns(template, make=byte_tokenizer):
    tokenizer = make(template)
    return Turns(tokenizer, Encoder(tokenizer))


def written(template, completion, **options):
    writer, prompt = turns(template), [user("q")]
    return writer.close(prompt, writer.open(prompt), completion, **options)


def policys(found):
    return [found.whole.text[begin:end] for begin, end in found.policy]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHATML, ["one<|im_end|>", " three<|im_end|>", "five<|im_end|>"]),
        (TRIMMING, ["one<eot>", "three<eot>", "five<eot>"]),
        (HEADED, ["one<eot>", "three<eot>", "five<eot>"]),
        (WITHOUT_END, ["one", " three", "five"]),
    ],
)
def test_the_policy_wrote_the_assistants_turns_and_what_ends_them(template, said):
    assert policys(written(template, TALK)) == said


def test_a_single_turn_is_the_policys_as_a_whole():
    assert written(CHATML, [assistant("one")]).policy is None
    writer = turns(CHATML)
    assert writer.close("q", writer.open("q"), " a").policy is None


def test_what_the_template_writes_after_the_header_is_the_policys_as_in_sampling():
    completion = [assistant("one"), tool("two"), {**assistant("three"), "thinking": "hm"}]
    assert policys(written(THINKING, completion)) == ["one<|im_end|>", "hm~three<|im_end|>"]


def test_a_turn_begins_with_its_text_where_the_template_writes_what_is_before_in_another_way():
    found = written(FORGETTING, TALK)
    assert found.whole.text.startswith("now assistant\n")
    assert policys(found) == ["one<|im_end|>", " three<|im_end|>", "five<|im_end|>"]


def test_a_header_that_the_template_refuses_to_write_is_not_needed():
    after_tool = "add_generation_prompt and messages[-1]['role'] == 'tool'"
    strict = CHATML + f"{{% if {after_tool} %}}{{{{ raise_exception('no') }}}}{{% endif %}}"
    assert policys(written(strict, TALK[:3])) == ["one<|im_end|>", " three<|im_end|>"]


def test_the_same_text_in_the_prompt_is_not_the_policys():
    echoing = "{{ messages[1]['content'] + '|' if messages | length > 1 else 'one|' }}" + CHATML
    found = written(echoing, TALK[:3])
    assert found.whole.text.startswith("one|")
    assert policys(found) == ["one<|im_end|>", " three<|im_end|>"]


def test_turns_that_cannot_be_told_apart_make_the_example_bad():
    shouting = CHATML.replace("m['content']", "m['content'] | upper")
    assert written(shouting, [assistant("one")]).policy is None
    with pytest.raises(BadExample, match="turns cannot be told apart"):
        written(shouting, TALK)


def test_a_completion_that_was_cut_off_ends_with_its_last_content():
    found = written(CHATML, TALK, ended=False)
    assert found.whole.text.endswith("<|im_start|>assistant\nfive")
    assert not found.marked
    assert policys(found)[-1] == "five"
    assert written(CHATML, TALK).marked
    assert not written(WITHOUT_END, TALK).marked


def test_the_completions_part_begins_behind_the_prompt():
    found = written(TRIMMING, [assistant("one"), tool("two"), assistant("three")])
    assert found.part.text == "one<eot>[tool]two<eot>[assistant]three<eot>"
    assert [found.part.text[start:end] for start, end in found.part.spans] == ["one", "two", "three"]


@pytest.mark.parametrize("make", [byte_tokenizer, prefixing_tokenizer])
def test_text_and_conversation_do_not_mix(make):
    writer = turns(CHATML, make)
    with pytest.raises(BadExample, match="not all text or all conversations"):
        writer.close("q", writer.open("q"), [assistant("a")])
