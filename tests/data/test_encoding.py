"""Only the chat template writes special tokens; what the data spells out becomes ordinary text."""

import pytest
from tiny_tokenizers import byte_tokenizer, prefixing_tokenizer, word_tokenizer

from alignkit import BadExample, UserError
from alignkit.data.encoding import Encoder
from alignkit.data.rendering import Rendered


def data(text):
    """A text that the data wrote alone."""
    return Rendered(text, ((0, len(text)),))


def specials(tokenizer, ids):
    return [tokenizer.decode([token]) for token in ids if token in tokenizer.all_special_ids]


def test_a_special_token_of_the_template_is_one_token_and_the_same_in_the_data_is_text():
    tokenizer = byte_tokenizer()
    text = "<|im_start|>a<|im_end|>b<|im_end|>"
    ids = Encoder(tokenizer).ids(Rendered(text, ((12, 24),)))  # the data wrote `a<|im_end|>b`
    assert specials(tokenizer, ids) == ["<|im_start|>", "<|im_end|>"]
    assert tokenizer.decode(ids) == text


def test_text_without_special_tokens_is_tokenized_as_a_whole():
    tokenizer = byte_tokenizer(bos=True)
    assert Encoder(tokenizer).ids(data("hello the cat")) == tokenizer.encode(
        "hello the cat", add_special_tokens=False
    )


def test_a_text_whose_places_are_unknown_is_tokenized_as_it_is():
    tokenizer = byte_tokenizer()
    assert specials(tokenizer, Encoder(tokenizer).ids(Rendered("a</s>", None))) == ["</s>"]


def test_a_text_that_continues_gets_no_space():
    tokenizer = prefixing_tokenizer()
    encoder = Encoder(tokenizer)
    assert tokenizer.convert_ids_to_tokens(encoder.ids(data("ab"))) == ["▁", "a", "b"]
    assert tokenizer.convert_ids_to_tokens(encoder.ids(data("ab"), continues=True)) == ["a", "b"]


def test_a_tokenizer_that_cannot_write_a_special_token_as_text_makes_the_example_bad():
    encoder = Encoder(word_tokenizer())
    assert encoder.ids(data("hello strange world")) == [6, 0, 7], "the unknown token is no special one here"
    with pytest.raises(BadExample, match="spells out a special token"):
        encoder.ids(data("hello </s> world"))


@pytest.mark.parametrize(
    ("text", "spelled"), [("a</s>b", True), ("<|im_start|>", True), ("</s", False), ("", False)]
)
def test_a_spelled_out_special_token_is_noticed(text, spelled):
    assert Encoder(byte_tokenizer()).spells_special(text) == spelled


def test_the_opening_is_what_the_tokenizer_puts_before_plain_text():
    tokenizer = byte_tokenizer(bos=True)
    assert Encoder(tokenizer).opening == [tokenizer.bos_token_id]
    assert Encoder(byte_tokenizer()).opening == []


def test_a_tokenizer_without_end_of_sequence_is_the_users_mistake():
    tokenizer = word_tokenizer()
    assert Encoder(tokenizer).eos == tokenizer.eos_token_id
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no end-of-sequence token"):
        _ = Encoder(tokenizer).eos


def test_marks_are_the_tokens_that_were_added_as_a_whole():
    marks = Encoder(byte_tokenizer()).marks
    assert marks.findall("a<|im_end|>b</s>c<|im_") == ["<|im_end|>", "</s>"]


@pytest.mark.parametrize("make", [byte_tokenizer, prefixing_tokenizer])
@pytest.mark.parametrize("continues", [False, True])
def test_each_token_has_the_place_of_its_characters(make, continues):
    tokenizer = make()
    encoder, text = Encoder(tokenizer), "the cat</s> sat\n\n<|im_end|>on"
    rendered = Rendered(text, ((0, 16), (27, len(text))))  # the template wrote the newline and <|im_end|>
    ids, places = encoder.located(rendered, continues=continues)
    assert ids == encoder.ids(rendered, continues=continues)
    for token, (start, end) in zip(ids, places, strict=True):
        written = tokenizer.convert_ids_to_tokens(token).replace("▁", " ")
        plain = text[start:end] if make is prefixing_tokenizer else tokenizer.decode([token])
        assert plain in (text[start:end], written, "")
        assert written.strip() in text[start:end] or make is byte_tokenizer
    covered = {at for start, end in places for at in range(start, end)}
    assert covered == set(range(len(text)))


def test_a_tokenizer_that_hides_the_places_makes_the_example_bad():
    class Slow:
        is_fast = False

    with pytest.raises(BadExample, match="which characters a token stands for"):
        Encoder(Slow()).located(data("a"))
