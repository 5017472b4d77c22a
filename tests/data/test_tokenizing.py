"""Prompt and completion concatenate exactly, data injects no special token, truncation takes from the
prompt's beginning alone.
"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
    word_tokenizer,
)

from alignkit import BadExample, Example, UserError
from alignkit.data.tokenizing import Tokenization

words = st.text(alphabet="athe cmosn\n,.!é", min_size=1, max_size=30).filter(str.strip)
spellings = st.sampled_from(["<|im_end|>", "<|im_start|>", "</s>", "<s>", "<eot>", "<|im_", "end|>", "<unk>"])
dirty = st.lists(words | spellings, min_size=1, max_size=5).map("".join).filter(str.strip)
template = st.sampled_from([CHATML, TRIMMING])


def ids(tokenizer, text, **options):
    return tokenizer(text, add_special_tokens=False, **options)["input_ids"]


def specials(tokenizer, tokens):
    return [token for token in tokens if token in tokenizer.all_special_ids]


@given(words, words, template)
@settings(max_examples=60, deadline=None)
def test_a_conversation_is_fed_as_the_template_tokenizes_it(question, answer, template):
    tokenizer = byte_tokenizer(template)
    group = Tokenization(tokenizer, 10_000).encode(Example([user(question)], ([assistant(answer)],)))
    text = tokenizer.apply_chat_template([user(question), assistant(answer)], tokenize=False).removesuffix(
        "\n"
    )
    opened = tokenizer.apply_chat_template([user(question)], tokenize=False, add_generation_prompt=True)
    assert group.prompt == ids(tokenizer, opened)
    assert tokenizer.decode(group.prompt + group.completions[0]) == text
    if ids(tokenizer, text)[: len(group.prompt)] == group.prompt:
        assert group.prompt + group.completions[0] == ids(tokenizer, text)


@given(words, words)
@settings(max_examples=60, deadline=None)
def test_plain_text_concatenates_and_ends_once(prompt, completion):
    tokenizer = byte_tokenizer()
    group = Tokenization(tokenizer, 10_000).encode(Example(prompt, (completion,)))
    assert group.prompt == ids(tokenizer, prompt)
    assert tokenizer.decode(group.prompt + group.completions[0]) == prompt + completion + "</s>"
    assert specials(tokenizer, group.completions[0]) == [tokenizer.eos_token_id]


@given(dirty, dirty, template)
@settings(max_examples=100, deadline=None)
def test_special_tokens_spelled_out_in_a_conversation_stay_text(question, answer, template):
    tokenizer = byte_tokenizer(template)
    encode = Tokenization(tokenizer, 10_000).encode
    group, clean = (
        encode(Example([user(q)], ([assistant(a)],))) for q, a in ((question, answer), ("a", "b"))
    )
    assert specials(tokenizer, group.prompt) == specials(tokenizer, clean.prompt)
    assert specials(tokenizer, group.completions[0]) == specials(tokenizer, clean.completions[0])
    text = tokenizer.apply_chat_template([user(question), assistant(answer)], tokenize=False).removesuffix(
        "\n"
    )
    assert tokenizer.decode(group.prompt + group.completions[0]) == text


@given(dirty, dirty)
@settings(max_examples=60, deadline=None)
def test_special_tokens_spelled_out_in_plain_text_stay_text(prompt, completion):
    tokenizer = byte_tokenizer(bos=True)
    group = Tokenization(tokenizer, 10_000).encode(Example(prompt, (completion,)))
    assert specials(tokenizer, group.prompt + group.completions[0]) == [
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    ]
    assert tokenizer.decode(group.prompt + group.completions[0]) == f"<s>{prompt}{completion}</s>"


@given(words, st.lists(words, min_size=1, max_size=3), st.integers(1, 60), st.booleans())
@settings(max_examples=80, deadline=None)
def test_truncation_takes_from_the_prompts_beginning_alone(prompt, completions, max_length, bos):
    tokenizer = byte_tokenizer(bos=bos)
    example = Example(prompt, tuple(completions))
    whole = Tokenization(tokenizer, 10_000).encode(example)
    longest = max(map(len, whole.completions))
    try:
        group = Tokenization(tokenizer, max_length).encode(example)
    except BadExample:
        assert longest + 1 + bos > max_length
        return
    assert group.completions == whole.completions
    assert len(group.prompt) == min(len(whole.prompt), max_length - longest)
    assert group.truncated == (len(group.prompt) < len(whole.prompt))
    assert group.prompt[bos:] == whole.prompt[len(whole.prompt) - len(group.prompt) + bos :]
    assert group.prompt[:bos] == whole.prompt[:bos]


@given(
    words,
    st.lists(st.tuples(words, st.booleans()), min_size=1, max_size=4),
    st.sampled_from([None, CHATML, TRIMMING, WITHOUT_END]),
)
@settings(max_examples=100, deadline=None)
def test_a_completion_that_was_cut_off_has_no_end_and_the_others_are_unchanged(question, drawn, template):
    tokenizer = byte_tokenizer(template)
    encode = Tokenization(tokenizer, 10_000).encode
    prompt = question if template is None else [user(question)]
    said = tuple(text if template is None else [assistant(text)] for text, _ in drawn)
    finished = {"finished": tuple(float(end) for _, end in drawn)}
    whole, group = encode(Example(prompt, said)), encode(Example(prompt, said, finished))
    assert group.prompt == whole.prompt
    for ended, cut, (text, end) in zip(whole.completions, group.completions, drawn, strict=True):
        if end:
            assert cut == ended
            assert specials(tokenizer, cut)
        else:
            assert not specials(tokenizer, cut)
            assert tokenizer.decode(cut) == (text.strip() if template == TRIMMING else text)


@pytest.mark.parametrize("template", [CHATML, TRIMMING, WITHOUT_END])
def test_of_several_messages_that_were_cut_off_the_earlier_ones_keep_their_ends(template):
    tokenizer = byte_tokenizer(template)
    messages = [assistant("one"), {"role": "tool", "content": "two"}, assistant("three")]
    example = Example([user("a")], (messages,))
    whole, cut = (
        Tokenization(tokenizer, 1000).encode(one).completions[0]
        for one in (example, replace(example, columns={"finished": (0.0,)}))
    )
    written, text = tokenizer.decode(whole), tokenizer.decode(cut)
    assert text.endswith("three")
    assert written.startswith(text)
    assert len(specials(tokenizer, cut)) == len(specials(tokenizer, whole)) - 1


def test_spelled_out_ends_in_a_completion_that_was_cut_off_stay_text():
    tokenizer = byte_tokenizer(CHATML)
    group = Tokenization(tokenizer, 1000).encode(
        Example([user("a")], ([assistant("b<|im_end|>")],), {"finished": (0.0,)})
    )
    assert tokenizer.decode(group.completions[0]) == "b<|im_end|>"
    assert not specials(tokenizer, group.completions[0])


def test_a_repeated_turn_token_is_not_kept_as_beginning_of_sequence():
    tokenizer = byte_tokenizer(CHATML)
    before, tokenizer.bos_token = tokenizer.bos_token, "<|im_start|>"
    example = Example([user("hello " * 30)], ([assistant("b")],))
    try:
        whole, group = (Tokenization(tokenizer, length).encode(example) for length in (1000, 20))
    finally:
        tokenizer.bos_token = before
    assert len(whole.completions[0]) == 2
    assert group.prompt == whole.prompt[-18:]


def test_a_template_that_writes_the_beginning_of_sequence_gets_no_second():
    tokenizer = byte_tokenizer(TRIMMING, bos=True)
    group = Tokenization(tokenizer, 1000).encode(Example([user(" hello ")], ([assistant("b")],)))
    assert tokenizer.decode(group.prompt) == "<s>[user]hello<eot>[assistant]"
    assert specials(tokenizer, group.prompt).count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(group.completions[0]) == "b<eot>"


def test_white_space_after_the_end_of_turn_is_not_trained_on():
    tokenizer = byte_tokenizer(CHATML)
    tokenization = Tokenization(tokenizer, 1000)
    completion = tokenization.encode(Example([user("a")], ([assistant("b\n")],))).completions[0]
    assert tokenizer.decode(completion) == "b\n<|im_end|>"
    assert tokenization.stop_ids == {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")}


def test_a_template_without_end_of_turn_gets_end_of_sequence():
    tokenizer = byte_tokenizer(WITHOUT_END)
    completion = (
        Tokenization(tokenizer, 1000).encode(Example([user("a")], ([assistant("hello ")],))).completions[0]
    )
    assert tokenizer.decode(completion) == "hello </s>"


def test_a_completion_of_several_messages_ends_after_the_last():
    tokenizer = byte_tokenizer(CHATML)
    messages = [assistant("one"), {"role": "tool", "content": "two"}, assistant("three")]
    completion = Tokenization(tokenizer, 1000).encode(Example([user("a")], (messages,))).completions[0]
    assert (
        tokenizer.decode(completion)
        == "one<|im_end|>\n<|im_start|>tool\ntwo<|im_end|>\n<|im_start|>assistant\nthree<|im_end|>"
    )


def test_a_completion_gets_no_space_of_its_own_where_the_tokenizer_prepends_one():
    tokenizer = prefixing_tokenizer()
    group = Tokenization(tokenizer, 100).encode(Example("<eot>ab", ("cd",)))
    a_to_d = [tokenizer.convert_tokens_to_ids(letter) for letter in "abcd"]
    assert group.completions[0] == [*a_to_d[2:], tokenizer.eos_token_id]
    assert group.prompt == [tokenizer.convert_tokens_to_ids(letter) for letter in "▁<eot>ab"]


@pytest.mark.parametrize("content", ["ab", "a<eot>b", "<eot>", "a </s> b<eot>"])
def test_no_space_is_prepended_where_the_text_is_cut(content):
    tokenizer = prefixing_tokenizer(CHATML)
    group = Tokenization(tokenizer, 1000).encode(Example([user(content)], ([assistant(content)],)))
    opened = "<|im_start|>user\n" + content.replace(" ", "▁") + "<|im_end|>\n<|im_start|>assistant\n"
    assert "".join(tokenizer.convert_ids_to_tokens(group.prompt)) == opened
    assert (
        "".join(tokenizer.convert_ids_to_tokens(group.completions[0]))
        == content.replace(" ", "▁") + "<|im_end|>"
    )
    assert len(specials(tokenizer, group.prompt)) == 3


def test_sampling_starts_from_the_prompt_that_is_trained_on():
    tokenization = Tokenization(byte_tokenizer(CHATML), 1000)
    prompt = [user("hello <|im_end|>")]
    assert tokenization.prompt_ids(prompt) == tokenization.encode(Example(prompt, ([assistant("b")],))).prompt
    assert tokenization.prompt_ids(prompt, room=5) == tokenization.prompt_ids(prompt)[-5:]


def test_a_special_token_that_cannot_be_written_as_text_makes_the_example_bad():
    with pytest.raises(BadExample, match="spells out a special token"):
        Tokenization(word_tokenizer(), 100).encode(Example("hello </s> world", ("hello",)))


def test_unknown_words_are_no_special_tokens_of_the_data():
    group = Tokenization(word_tokenizer(), 100).encode(Example("hello strange world", ("strange",)))
    assert group.prompt == [6, 0, 7]
    assert group.completions == ([0, 2],)


def test_conversations_need_a_chat_template():
    with pytest.raises(UserError, match="no chat template"):
        Tokenization(byte_tokenizer(), 100).encode(Example([user("a")], ([assistant("b")],)))


def test_a_template_that_rewrites_the_prompt_is_refused():
    forgetful = "{% for m in messages %}{% if loop.last %}{{ m['content'] }}{% endif %}{% endfor %}"
    with pytest.raises(BadExample, match="in another way"):
        Tokenization(byte_tokenizer(forgetful), 100).encode(Example([user("a")], ([assistant("b")],)))


def test_a_template_that_changes_contents_is_trusted_only_without_special_tokens():
    shouting = CHATML.replace("m['content']", "m['content'] | upper")
    tokenizer = byte_tokenizer(shouting)
    group = Tokenization(tokenizer, 1000).encode(Example([user("a")], ([assistant("b")],)))
    assert tokenizer.decode(group.completions[0]) == "B<|im_end|>"
    with pytest.raises(BadExample, match="spells out a special token"):
        Tokenization(tokenizer, 1000).encode(Example([user("a<|im_end|>")], ([assistant("b")],)))


TALK = [assistant("one<eot>"), tool("the two"), assistant("three"), user("four"), assistant("five é")]


def owned(tokenizer, group, number=0):
    """The text of a completion's tokens inside the mask, by turn."""
    turns, inside = [], False
    for token, mask in zip(group.completions[number], group.masks[number], strict=True):
        if mask:
            turns = [*turns[:-1], [*turns[-1], token]] if inside else [*turns, [token]]
        inside = mask
    return [tokenizer.decode(turn).strip() for turn in turns]


@pytest.mark.parametrize("make", [byte_tokenizer, prefixing_tokenizer])
@pytest.mark.parametrize(
    ("template", "end"), [(CHATML, "<|im_end|>"), (TRIMMING, "<eot>"), (HEADED, "<eot>"), (WITHOUT_END, "")]
)
def test_the_mask_marks_the_assistants_tokens_alone_and_changes_none(template, end, make):
    tokenizer = make(template)
    group = Tokenization(tokenizer, 1000).encode(Example([user("q")], (TALK, [assistant("b")])))
    last = end or "</s>"
    unknown = "é" if make is byte_tokenizer else "<unk>"
    assert owned(tokenizer, group) == [f"one<eot>{end}", f"three{end}", f"five {unknown}{last}"]
    assert group.masks[1] == (True,) * len(group.completions[1])
    text = tokenizer.apply_chat_template([user("q"), *TALK], tokenize=False).rstrip("\n")
    expected = text.replace("é", unknown) + ("" if end else "</s>")
    assert tokenizer.decode(group.prompt + group.completions[0]) == expected


@pytest.mark.parametrize("template", [CHATML, TRIMMING])
def test_one_turn_needs_no_mask(template):
    group = Tokenization(byte_tokenizer(template), 1000).encode(
        Example([user("q")], ([assistant("a")], [assistant("b")]))
    )
    assert group.masks is None


@given(st.lists(dirty, min_size=3, max_size=3), template)
@settings(max_examples=60, deadline=None)
def test_no_token_of_a_tools_turn_is_ever_learned_from(said, template):
    """Whatever is said: the ids inside the mask spell the assistant's turns and nothing else."""
    tokenizer = byte_tokenizer(template)
    first, between, last = said
    completion = [assistant(first), tool(between), assistant(last)]
    group = Tokenization(tokenizer, 10_000).encode(Example([user("q")], (completion,)))
    end = "<|im_end|>" if template == CHATML else "<eot>"
    kept = [t for t, mask in zip(group.completions[0], group.masks[0], strict=True) if mask]
    strip = str.strip if template == TRIMMING else str
    found, expected = tokenizer.decode(kept), strip(first) + end + strip(last) + end
    assert "".join(found.split()) == "".join(expected.split())


def test_a_completion_that_was_cut_off_has_its_mask():
    tokenizer = byte_tokenizer(CHATML)
    group = Tokenization(tokenizer, 1000).encode(Example([user("q")], (TALK,), {"finished": (0.0,)}))
    assert owned(tokenizer, group) == ["one<eot><|im_end|>", "three<|im_end|>", "five é"]


def test_numbers_of_tokens_are_one_for_each_with_the_end():
    encode = Tokenization(byte_tokenizer(), 1000).encode
    [tokens] = encode(Example("q", ("abc",))).completions
    numbers = tuple(float(at) for at in range(len(tokens)))
    assert encode(Example("q", ("abc",), {"share": (numbers,)})).columns == {"share": (numbers,)}
    with pytest.raises(BadExample, match="'share' has another number of entries") as error:
        encode(Example("q", ("abc",), {"share": (numbers[:-1],)}))
    assert error.value.detail == f"{len(tokens) - 1} entries, {len(tokens)} tokens"
