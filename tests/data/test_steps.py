"""The steps of a row are one completion, and the token that ends each carries its numbers."""

import pytest
from tiny_data import read
from tiny_tokenizers import CHATML, TRIMMING, assistant, byte_tokenizer, prefixing_tokenizer, user

from alignkit import BadExample, Demonstrations, Example, Labelled, Stepwise, UserError
from alignkit.data.checking import Mismatch, adapt, needed
from alignkit.data.rows import batch_of
from alignkit.data.tokenizing import Tokenization

ROW = {"prompt": "q:", "completions": ["the cat", "sat\n on", "the mat"], "labels": [True, False, True]}


def steps_of(tokenizer, group):
    """The text of the tokens up to each step's end."""
    [ids], [ends] = group.completions, group.columns["step_end"]
    texts, start = [], 0
    for at, end in enumerate(ends):
        if end:
            texts.append(tokenizer.decode(ids[start : at + 1]))
            start = at + 1
    assert start == len(ids), "the last step ends with the completion"
    return texts


def stepwise(*steps, prompt="q:", **columns):
    columns = {"label": (1.0,) * len(steps), **columns}
    return adapt(Example(prompt, tuple(steps), columns), Stepwise)


def test_a_row_of_labelled_steps_is_one_completion_with_numbers_at_the_ends(write):
    data = read(write(ROW), Stepwise)
    [example], [group] = data.examples, data.groups
    assert example.completions == ("the cat\nsat\n on\nthe mat",)
    tokenizer = byte_tokenizer()
    assert steps_of(tokenizer, group) == ["the cat\n", "sat\n on\n", "the mat</s>"]
    [label], [end] = group.columns["label"], group.columns["step_end"]
    assert [value for value, ends in zip(label, end, strict=True) if ends] == [1, 0, 1]
    assert not any(value for value, ends in zip(label, end, strict=True) if not ends)
    batch, _ = batch_of(data.groups)
    assert batch.label.shape == batch.step_end.shape == batch.mask.shape
    assert batch.mask.all()


def test_the_kind_decides_what_completions_with_labels_are(write):
    path = write(ROW)
    [labelled] = read(path, Labelled).groups
    assert (len(labelled.completions), labelled.columns["label"]) == (3, (1, 0, 1))
    [best] = read(path, Demonstrations).examples
    assert best.completions == ("the cat",)


@pytest.mark.parametrize("make", [byte_tokenizer, prefixing_tokenizer])
@pytest.mark.parametrize(("template", "end"), [(CHATML, "<|im_end|>"), (TRIMMING, "<eot>")])
def test_steps_of_a_conversation_are_found_in_the_assistants_turn(template, end, make):
    tokenizer = make(template)
    example = stepwise(" one ", "two", "three ", prompt=[user("q")])
    assert example.completions == ([assistant(" one \ntwo\nthree ")],)
    found = steps_of(tokenizer, Tokenization(tokenizer, 1000).encode(example))
    last = f"three {end}" if template == CHATML else f"three{end}"
    # the decoder of one of the tokenizers leaves out a space at the beginning
    assert [found[0].lstrip(), *found[1:]] == ["one \n", "two\n", last]


def test_spelled_out_special_tokens_do_not_move_the_ends():
    tokenizer = byte_tokenizer()
    group = Tokenization(tokenizer, 1000).encode(stepwise("a</s>", "<|im_end|>é", "c"))
    assert steps_of(tokenizer, group) == ["a</s>\n", "<|im_end|>é\n", "c</s>"]


def test_a_completion_is_tokenized_as_one_text():
    tokenizer = byte_tokenizer()
    group = Tokenization(tokenizer, 1000).encode(stepwise("the cat", "sat on"))
    assert group == Tokenization(tokenizer, 1000).encode(
        Example("q:", ("the cat\nsat on",), {name: group.columns[name] for name in group.columns})
    )


def test_other_lists_are_numbers_of_steps_and_other_numbers_are_the_rows(write):
    row = {**ROW, "quality": [0.5, 0.25, 2], "difficulty": 3, "weight": 0.5}
    data = read(write(row), Stepwise)
    [group] = data.groups
    assert [value for value in group.columns["quality"][0] if value] == [0.5, 0.25, 2]
    assert (group.columns["difficulty"], group.columns["weight"]) == ((3,), (0.5,))
    batch, _ = batch_of(data.groups)
    assert (batch.quality.shape, batch.difficulty.shape) == (batch.mask.shape, (1,))
    assert batch.quality[batch.step_end == 1].tolist() == [0.5, 0.25, 2]


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (Example("q", ("a", " "), {"label": (1.0, 0.0)}), "empty step"),
        (Example("q", ("a", [assistant("b")]), {"label": (1.0, 0.0)}), "a step is not text"),
        (Example("q", ("a", "b"), {"label": (1.0, 0.5)}), "other values than true and false"),
    ],
)
def test_unusable_steps_say_why(example, reason):
    with pytest.raises(BadExample, match=reason):
        adapt(example, Stepwise)


def test_data_without_labelled_steps_is_another_kind(write):
    with pytest.raises(Mismatch, match="no labelled steps"):
        adapt(Example("q", ("a",)), Stepwise)
    assert needed(Stepwise).formats == ("stepwise",)
    with pytest.raises(UserError, match="a solution in steps") as error:
        read(write({"prompt": "q", "completions": ["a", "b"]}), Stepwise)
    assert "prompt, completions, labels" in str(error.value)


def test_steps_that_the_template_hides_make_the_example_bad():
    shouting = byte_tokenizer(CHATML.replace("m['content']", "m['content'] | upper"))
    with pytest.raises(BadExample, match="its steps cannot be found"):
        Tokenization(shouting, 1000).encode(stepwise("a", "b", prompt=[user("q")]))
