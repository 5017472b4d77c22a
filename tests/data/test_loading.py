"""A recipe's data becomes groups, and a report counts every row."""

from dataclasses import replace

import pytest
import torch
from tiny_data import pair, read
from tiny_tokenizers import CHATML, assistant, byte_tokenizer, user

from alignkit import Demonstrations, Example, Preferences, Prompts, UserError, text_of
from alignkit.data.checking import Completions
from alignkit.data.report import Dropped
from alignkit.data.rows import batch_of
from alignkit.data.tokenizing import Tokenization


def test_every_row_is_used_or_counted_with_its_first_place(write):
    path = write(
        pair(),
        "{",
        pair(rejected=""),
        pair(chosen=" b", rejected=" a"),
        pair("r"),
        pair(chosen=""),
        {"id": 1},
    )
    report = read(path, Preferences).report
    assert (report.rows, report.examples, report.completions) == (7, 2, 4)
    assert report.dropped == {
        "not valid JSON": Dropped(1, f"{path}:2"),
        "empty completion": Dropped(2, f"{path}:3"),
        "contradicts an earlier pair of the same prompt": Dropped(1, f"{path}:4"),
        "no format fits the row's columns": Dropped(1, f"{path}:7"),
    }
    assert report.to_dict()["dropped"]["not valid JSON"] == {"count": 1, "first": f"{path}:2"}


def test_tokens_are_counted_as_they_are_fed(write):
    data = read(write(pair("q" * 9, "a", "b"), pair("r", "a", "b")), Preferences, max_length=7)
    assert [len(group.prompt) for group in data.groups] == [5, 1]  # two tokens of a completion leave five
    assert (data.report.prompt_tokens, data.report.completion_tokens, data.report.truncated) == (6, 8, 1)


def test_a_bad_row_is_an_error_where_the_recipe_says_so(write):
    path = write(pair(), "{", pair("r", rejected=""))
    with pytest.raises(UserError, match="2 of 3 rows cannot be used") as error:
        read(path, Preferences, on_bad="error")
    assert f"{path}:2" in str(error.value)
    assert f"{path}:3" in str(error.value)


@pytest.mark.parametrize("rows", [(), ("{", "}")])
def test_no_usable_row_is_an_error(write, rows):
    with pytest.raises(UserError, match="none of"):
        read(write(*rows), Preferences)


BAD_NUMBERS = {
    "votes that decide nothing": ({"votes_chosen": 0, "votes_rejected": 0}, "'votes' is 0 for both"),
    "more than float32 holds": ({"margin": 1e300}, "'margin' is not a finite number in float32"),
    "more than a float holds": ({"margin": 10**400}, "'margin' is not a finite number in float32"),
}


@pytest.mark.parametrize(("columns", "reason"), BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_a_number_that_cannot_be_trained_on_makes_the_row_bad(write, columns, reason):
    sound = {"votes_chosen": 3, "votes_rejected": 0} if "votes_chosen" in columns else {"margin": 1}
    path = write(pair(**sound), pair("r", **columns))
    [(found, dropped)] = read(path, Preferences).report.dropped.items()
    assert found.startswith(reason)
    assert dropped == Dropped(1, f"{path}:2")
    with pytest.raises(UserError, match=reason):
        read(path, Preferences, on_bad="error")


def test_ranks_that_float32_cannot_tell_apart_still_order(write):
    ranks = [1700000002, 1700000001, 1700000002]
    assert torch.tensor(ranks, dtype=torch.float32).unique().numel() == 1
    data = read(write({"prompt": "q", "completions": ["a", "b", "c"], "ranks": ranks}), Preferences)
    assert data.groups[0].columns["rank"] == (1, 0, 1)
    assert batch_of(data.groups)[0].pairs().winner.tolist() == [1, 1]


def test_limit_counts_usable_examples(write):
    data = read(write("{", pair("q"), "{", pair("r"), pair("s")), Preferences, limit=2)
    assert [example.prompt for example in data.examples] == ["q", "r"]
    assert data.report.rows == 4


def test_skip_leaves_out_rows_at_the_beginning_and_limit_counts_from_there(write):
    path = write(pair("q"), "{", pair("r"), pair("s"), pair("t"))
    data = read(path, Preferences, skip=2, limit=2)
    assert [example.prompt for example in data.examples] == ["r", "s"]
    assert data.report.rows == 2, "the bad row was skipped with the first"
    assert read(path, Preferences, skip=0) == read(path, Preferences)


def test_a_place_after_skipped_rows_is_the_place_in_the_file(write):
    path = write(pair("q"), pair("r"), "{", pair("s"))
    assert read(path, Preferences, skip=1).report.dropped == {"not valid JSON": Dropped(1, f"{path}:3")}


def test_skipping_everything_is_an_error_that_says_so(write):
    with pytest.raises(UserError, match="skip"):
        read(write(pair(), pair("r")), Preferences, skip=2)


def test_what_is_skipped_and_what_limit_takes_are_the_data_in_two(write):
    path = write(*(pair(f"q{number}") for number in range(9)))
    first, rest = read(path, Preferences, limit=4), read(path, Preferences, skip=4)
    assert first.examples + rest.examples == read(path, Preferences).examples


@pytest.mark.parametrize(
    ("others", "broken", "wrong_kind"), [(3, 2, True), (2, 2, False), (1, 4, False), (1, 0, True)]
)
def test_data_is_of_the_wrong_kind_only_where_most_rows_are(write, others, broken, wrong_kind):
    rows = [{"prompt": f"q{number}", "completion": "a"} for number in range(others)]
    with pytest.raises(UserError) as caught:
        read(write(*["{"] * broken, *rows), Preferences)
    assert ("two or more ranked completions" in str(caught.value)) == wrong_kind
    assert ("none of" in str(caught.value)) != wrong_kind


def test_one_good_row_among_many_of_another_kind_is_used(write):
    rows = [{"prompt": f"q{number}", "completion": "a"} for number in range(9)]
    assert len(read(write(*rows, pair()), Preferences)) == 1


def test_whether_a_sample_was_finished_stays_with_it_through_ranking(write):
    row = {
        "prompt": "q",
        "completions": ["a", "b", "c"],
        "finished": [True, False, True],
        "ranks": [2, 0, 1],
        "rewards": [0, 2, 1],
    }
    eos = byte_tokenizer().eos_token_id
    preferences = read(write(row), Preferences)
    assert preferences.examples[0].columns["finished"] == (1, 0, 1)
    assert [completion[-1] == eos for completion in preferences.groups[0].completions] == [True, False, True]
    demonstration = read(write(row), Demonstrations)
    assert demonstration.examples[0].completions == ("b",)
    assert demonstration.groups[0].completions[0][-1] != eos
    assert "finished" not in read(write(row), Prompts).groups[0].columns


def test_data_of_another_kind_names_what_is_needed_and_what_was_found(write):
    with pytest.raises(UserError) as error:
        read(write({"prompt": "q", "completion": "a", "choosen": "b"}), Preferences)
    message = str(error.value)
    assert error.value.where == "data.pairs"
    assert "two or more ranked completions" in message
    assert "prompt, completion, choosen" in message
    assert "rename: {choosen: chosen}" in message


def test_rows_of_another_kind_among_good_ones_are_counted(write):
    report = read(write(pair(), {"prompt": "q", "completion": "a"}), Preferences).report
    assert report.examples == 1
    assert "fewer than two completions" in report.dropped


def test_a_column_that_some_rows_lack_is_an_error(write):
    path = write(pair(margin=1), pair("r"))
    with pytest.raises(UserError, match=rf"'margin'.*{path.name}:2"):
        read(path, Preferences)


def test_prompts_keep_the_other_columns_for_rewards(write):
    data = read(write({"prompt": "q", "answer": "42"}), Prompts)
    assert data.examples == [Example("q", (), {}, {"answer": "42"})]
    assert data.groups[0].completions == ()


def test_a_completion_that_leaves_no_room_is_counted(write):
    report = read(
        write({"prompt": "q", "completion": "x" * 20}, {"prompt": "q", "completion": "a"}),
        Demonstrations,
        max_length=8,
    ).report
    assert report.dropped["completion longer than max_length"].count == 1


def completions(prompt, *texts, **columns):
    return {"prompt": prompt, "completions": texts, **columns}


TO_RANK = (
    "{",
    completions("q", "a", "bb"),
    completions("r", "x" * 90),
    completions("s", "", "c"),
    completions("t", "d"),
    completions("u", " "),
    {"prompt": "v"},
)


def test_blank_completions_to_rank_are_left_out_and_counted(write):
    path = write(*TO_RANK)
    data = read(path, Completions, max_length=64)
    assert data.examples == [Example("q", ("a", "bb")), Example("s", ("c",)), Example("t", ("d",))]
    assert [len(group.completions) for group in data.groups] == [2, 1, 1]
    report = data.report
    assert (report.rows, report.examples, report.completions, report.blank) == (7, 3, 4, 2)
    assert report.dropped == {
        "not valid JSON": Dropped(1, f"{path}:1"),
        "completion longer than max_length": Dropped(1, f"{path}:3"),
    }


def test_a_blank_completion_takes_its_numbers_with_it(write):
    row = completions("q", "a", " ", "c", ranks=[2, 0, 1], finished=[True, False, False], source="s")
    [example] = read(write(row), Completions).examples
    assert example.completions == ("a", "c")
    assert example.columns == {"rank": (2, 1), "finished": (1, 0)}
    assert example.extra == {"source": "s"}


def test_completions_to_rank_may_contradict_each_other_and_differ_in_columns(write):
    rows = (
        pair(),
        pair(chosen=" b", rejected=" a", margin=1),
        completions("q", "a", "a"),
        {"prompt": "q", "completion": "a"},
    )
    data = read(write(*rows), Completions)
    assert (data.report.examples, data.report.dropped) == (4, {})


def test_limit_counts_rows_with_something_to_rank(write):
    data = read(write(*TO_RANK), Completions, max_length=64, limit=2)
    assert [example.prompt for example in data.examples] == ["q", "s"]
    assert data.report.rows == 4
    blank = (completions("q", ""), completions("r", "a"), completions("s", "b"))
    data = read(write(*blank), Completions, limit=1)
    assert ([example.prompt for example in data.examples], data.report.blank) == (["r"], 1)


def test_completions_to_rank_have_the_same_other_columns(write):
    rows = completions("q", "a", answer="1"), completions("r", "b", source="s")
    assert [example.extra for example in read(write(*rows), Completions).examples] == [
        {"answer": "1", "source": None},
        {"answer": None, "source": "s"},
    ]


@pytest.mark.parametrize("rows", [(), (completions("q", ""),), ({"prompt": "q"}, completions("r", " ", ""))])
def test_nothing_to_rank_is_an_error_that_says_what_is_needed(write, rows):
    with pytest.raises(UserError, match="there is no completion to rank") as error:
        read(write(*rows), Completions)
    assert error.value.where == "data.pairs"
    assert "data with completions" in str(error.value)


def test_only_bad_rows_to_rank_are_told_with_their_reasons(write):
    with pytest.raises(UserError, match="none of 3 rows can be used") as error:
        read(write("{", completions("q", ""), "{"), Completions)
    assert "not valid JSON" in str(error.value)


def test_a_bad_row_to_rank_is_an_error_where_the_recipe_says_so(write):
    with pytest.raises(UserError, match="2 of 7 rows cannot be used"):
        read(write(*TO_RANK), Completions, max_length=64, on_bad="error")
    assert read(write(completions("q", "", "a")), Completions, on_bad="error").report.blank == 1


def test_other_prompts_are_tokenized_with_the_room_beside_the_longest_completion(write):
    path = write(
        pair(hinted="the hint: q", strict=" "),
        pair("r", hinted="r"),
        pair("s"),
        pair("t", hinted=" "),
        pair("u", hinted=3),
        pair("v", hinted=[user("v")]),
    )
    data = read(path, Preferences, max_length=8, prompts=["hinted"])
    assert [text_of(example.prompt) for example in data.examples] == ["q", "r"]
    whole = byte_tokenizer()("the hint: q")["input_ids"]
    longest = max(map(len, data.groups[0].completions))
    assert data.groups[0].prompts == {"hinted": whole[longest - 8 :]}
    assert data.groups[0].tokens == 8 - longest + sum(map(len, data.groups[0].completions))
    assert [group.truncated for group in data.groups] == [True, False]
    assert data.report.dropped == {
        "'hinted' is missing": Dropped(1, f"{path}:3"),
        "'hinted' is empty, which is the prompt of a role": Dropped(1, f"{path}:4"),
        "'hinted' is neither text nor a list of messages": Dropped(1, f"{path}:5"),
        "'prompt' and 'hinted' are not both text or both conversations": Dropped(1, f"{path}:6"),
    }


def test_other_prompts_do_not_change_the_first(write):
    path = write(pair(hinted="hint q"))
    [group], [hinted] = (read(path, Preferences, prompts=names).groups for names in ((), ["hinted"]))
    assert replace(hinted, prompts={}) == group
    assert group.text == "q"


def test_conversations_have_other_conversations_as_prompts():
    tokenizer = byte_tokenizer(CHATML)
    example = Example([user("q")], ([assistant("a")],))
    group = Tokenization(tokenizer, 1000).encode(example, {"hinted": [user("hint q")]})
    assert tokenizer.decode(group.prompts["hinted"]) == (
        "<|im_start|>user\nhint q<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({}, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 0), (5, 5)]),
        ({"skip": 2}, [(1, 3), (2, 3), (3, 0), (3, 3)]),
        ({"limit": 2}, [(1, 2), (1, 2), (3, 3)]),  # of two usable rows; the second row is bad
        ({"limit": 9}, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 0), (5, 5)]),
    ],
)
def test_progress_counts_rows_or_what_the_limit_counts(write, settings, seen):
    path, found = write(pair(), "{", pair("r"), pair("s"), pair("t")), []
    read(path, Preferences, progress=lambda *counts: found.append(counts), **settings)
    assert found == seen
