"""A recipe's data becomes groups with a report; fingerprints follow contents; held-out prompts stay out."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tokenizers import byte_tokenizer, user

from alignkit import Demonstrations, Example, Group, Preferences, Prompts, UserError
from alignkit.data.fingerprint import data_fingerprint as fingerprint
from alignkit.data.held_out import split_held_out
from alignkit.data.loading import Dataset, load
from alignkit.data.report import Dropped, Tally
from alignkit.data.rows import batch_of
from alignkit.data.tokenizing import Tokenization
from alignkit.recipe import DataEntry


@pytest.fixture
def write(tmp_path):
    def write(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write


def read(path, kind, max_length=1000, **settings):
    return load(
        DataEntry(path=str(path), **settings),
        kind,
        name="pairs",
        tokenization=Tokenization(byte_tokenizer(), max_length),
    )


def pair(prompt="q", chosen=" a", rejected=" b", **columns):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **columns}


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


def test_the_report_reads_as_text():
    tally = Tally("pairs", rows=3)
    tally.keep(Group([1, 2], ([3], [4, 5]), truncated=True))
    tally.drop("empty completion", "f:2")
    tally.drop("empty completion", "f:3")
    assert tally.report().lines() == [
        "pairs: 1 of 3 rows usable; 2 completions, 2 prompt tokens, 3 completion tokens",
        "  1 prompts lost their beginning to fit the maximum length",
        "  2 dropped: empty completion (first at f:2)",
    ]


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
    assert fingerprint(DataEntry(path=str(path))) != fingerprint(DataEntry(path=str(path), skip=4))


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


def test_a_fingerprint_follows_contents_and_settings(write, tmp_path):
    path = write(pair())
    first = fingerprint(DataEntry(path=str(path)))
    assert first == fingerprint(DataEntry(path=str(path)))
    assert first != fingerprint(DataEntry(path=str(path), limit=1))
    write(pair("other"))
    assert first != fingerprint(DataEntry(path=str(path)))
    folder = DataEntry(path=str(tmp_path))
    before = fingerprint(folder)
    path.rename(tmp_path / "renamed.jsonl")
    assert before != fingerprint(folder)
    assert fingerprint(DataEntry(path="some/hub-name", revision="a")) != fingerprint(
        DataEntry(path="some/hub-name", revision="b")
    )


def test_a_fingerprint_does_not_depend_on_how_the_path_is_spelled(write, tmp_path, monkeypatch):
    path = write(pair())
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "elsewhere" / "other name.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    spellings = (str(path), path.name, f"./{path.name}", f"elsewhere/../{path.name}", str(copy))
    assert len({fingerprint(DataEntry(path=spelling)) for spelling in spellings}) == 1
    assert fingerprint(DataEntry(path=str(tmp_path / "elsewhere"))) == fingerprint(
        DataEntry(path="./elsewhere")
    )


def test_a_fingerprint_follows_how_the_data_is_read(write):
    path = write(pair())
    changes = (
        {"format": "preference"},
        {"rename": {"a": "b"}},
        {"skip": 1},
        {"limit": 1},
        {"on_bad": "error"},
        {"split": "test"},
        {},
    )
    assert len({fingerprint(DataEntry(path=str(path), **change)) for change in changes}) == len(changes)
    as_csv = path.with_suffix(".csv")
    as_csv.write_bytes(path.read_bytes())
    assert fingerprint(DataEntry(path=str(path))) != fingerprint(DataEntry(path=str(as_csv))), (
        "the suffix decides on the reader"
    )


def made(prompts):
    groups = [Group([prompt, 9], ([number],)) for number, prompt in enumerate(prompts)]
    return Dataset([Example(str(prompt)) for prompt in prompts], groups, Tally("x").report())


@given(
    st.lists(st.integers(0, 8), min_size=2, max_size=40).filter(lambda prompts: len(set(prompts)) > 1),
    st.floats(0.01, 0.99),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_no_prompt_is_on_both_sides_and_nothing_is_lost(prompts, share, seed):
    data = made(prompts)
    train, held_out = split_held_out(data, share, seed)
    sides = [{group.prompt[0] for group in side.groups} for side in (train, held_out)]
    assert sides[0] and sides[1]  # noqa: PT018
    assert not sides[0] & sides[1]
    assert sorted(group.completions[0][0] for side in (train, held_out) for group in side.groups) == list(
        range(len(prompts))
    )
    for side in (train, held_out):
        order = [group.completions[0][0] for group in side.groups]
        assert order == sorted(order)
        assert [example.prompt for example in side.examples] == [
            str(group.prompt[0]) for group in side.groups
        ]
    assert split_held_out(data, share, seed) == (train, held_out)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_about_the_share_is_held_out(share):
    count = 4000
    held = [len(split_held_out(made(range(count)), share, seed)[1]) for seed in range(3)]
    deviation = (count * share * (1 - share)) ** 0.5  # of a binomial count
    assert all(abs(number - count * share) < 5 * deviation for number in held)


def texts(dataset):
    return {example.prompt for example in dataset.examples}


@given(st.sets(st.integers(0, 99), max_size=60), st.floats(0.1, 0.4), st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_a_prompts_side_does_not_depend_on_which_others_are_there(dropped, share, seed):
    _, held_out = split_held_out(made(range(100)), share, seed)
    train, _ = split_held_out(made([prompt for prompt in range(100) if prompt not in dropped]), share, seed)
    assert len(held_out) == 1 or len(train) == 1 or not texts(held_out) & texts(train)


def test_another_seed_holds_out_others():
    assert len({frozenset(texts(split_held_out(made(range(100)), 0.2, seed)[1])) for seed in range(5)}) == 5


def test_a_larger_share_holds_out_all_that_a_smaller_one_does():
    assert texts(split_held_out(made(range(100)), 0.1, 0)[1]) < texts(
        split_held_out(made(range(100)), 0.3, 0)[1]
    )


def test_no_stage_trains_on_what_another_holds_out_of_the_same_file(write):
    ties = (
        {"prompt": f"q{number}", "completions": ["a", "b"], "ranks": [0, 0 if number == 3 else 1]}
        for number in range(60)
    )
    path = write(*ties)
    pairs, demonstrations = read(path, Preferences), read(path, Demonstrations)
    assert (len(pairs), len(demonstrations)) == (59, 60), "the tie is no preference, but a demonstration"
    held_out, train = split_held_out(pairs, 0.2, 0)[1], split_held_out(demonstrations, 0.2, 0)[0]
    assert not texts(held_out) & texts(train)


def test_a_prompt_is_the_same_as_text_and_as_a_conversation():
    conversations = [
        replace(example, prompt=[user(f"{example.prompt}\n")]) for example in made(range(50)).examples
    ]
    as_text, as_conversation = made(range(50)), replace(made(range(50)), examples=conversations)
    assert split_held_out(as_text, 0.2, 0)[1].groups == split_held_out(as_conversation, 0.2, 0)[1].groups


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20), st.integers(0, 99))
@settings(deadline=None)
def test_prompts_that_share_text_or_tokens_stay_together(pairs, seed):
    pairs = [*pairs, (7, 7), (8, 8)]
    groups = [Group([tokens], ([number],)) for number, (_, tokens) in enumerate(pairs)]
    train, held_out = split_held_out(
        Dataset([Example(str(text)) for text, _ in pairs], groups, Tally("x").report()), 0.5, seed
    )
    assert not texts(train) & texts(held_out)
    assert not {tuple(group.prompt) for group in train.groups} & {
        tuple(group.prompt) for group in held_out.groups
    }
    assert len(train) + len(held_out) == len(pairs)


@pytest.mark.parametrize(("prompts", "share"), [([1, 1], 0.5), ([1, 2], 0.0), ([1, 2], 1.0)])
def test_a_share_that_cannot_be_held_out_is_refused(prompts, share):
    with pytest.raises(UserError):
        split_held_out(made(prompts), share, 0)
