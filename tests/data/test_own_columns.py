"""Numbers under names of one's own become columns where every row has them; the report knows why not."""

import pytest
from tiny_data import pair, read
from tiny_tokenizers import byte_tokenizer

from alignkit import BadExample, Demonstrations, Example, Group, Preferences, Prompts
from alignkit.data.checking import adapt, select
from alignkit.data.own_columns import (
    Misfit,
    OwnColumns,
    check_lengths,
    own_columns,
    prompt_numbers,
    reserved_numbers,
    without_numbers_of_completions,
)
from alignkit.data.rows import batch_of


@pytest.mark.parametrize(
    ("extra", "count", "listed", "columns"),
    [
        ({"quality": 3}, 2, False, {"quality": (3.0, 3.0)}),
        ({"quality": " 2.5 ", "ok": "true"}, 1, False, {"quality": (2.5,), "ok": (1.0,)}),
        ({"sure": False}, 1, False, {"sure": (0.0,)}),
        ({"quality": [1, "2"]}, 2, True, {"quality": (1.0, 2.0)}),
        ({"quality": [1, 2, 3]}, 2, True, {}),
        ({"quality": [1]}, 1, True, {"quality": (1.0,)}),
        ({"share": [1, 2, 3]}, 1, False, {"share": ((1.0, 2.0, 3.0),)}),
        ({"share": [1]}, 1, False, {"share": ((1.0,),)}),
        ({"share": [[1, 2]]}, 1, True, {"share": ((1.0, 2.0),)}),
        ({"share": [[1, 2], [3]]}, 2, True, {"share": ((1.0, 2.0), (3.0,))}),
        ({"share": [[1, 2], 3]}, 2, True, {}),
        ({"quality_chosen": 2, "quality_rejected": "1"}, 2, False, {"quality": (2.0, 1.0)}),
        ({"share_chosen": [2], "share_rejected": [1, 3]}, 2, False, {"share": ((2.0,), (1.0, 3.0))}),
        ({"a_chosen": 2, "a_rejected": 1}, 3, False, {"a_chosen": (2.0,) * 3, "a_rejected": (1.0,) * 3}),
        ({"quality_chosen": 2}, 2, False, {"quality_chosen": (2.0, 2.0)}),
        ({"rank": 1, "reward": 2, "scores": 3, "tokens": 4, "group": 5, "pairs": 6}, 1, False, {}),
        ({"a": None, "b": "", "c": "much", "d": {"e": 1}, "f": [], "g": "nan", "h": 10**400}, 1, False, {}),
        ({"tags": []}, 0, False, {}),
        ({"long": "1" * 1000, "words": ["a"], "nested": [[]]}, 1, False, {}),
    ],
)  # fmt: skip
def test_numbers_of_a_row_of_its_completions_and_of_their_tokens(extra, count, listed, columns):
    assert own_columns(extra, count, listed=listed) == columns


def test_a_prompts_numbers_are_those_of_the_row():
    row = {"level": "3", "weight": 0.5, "answer": "many", "nums": [1, 2], "rank": 1, "ok": True}
    assert prompt_numbers(row) == {"level": 3.0, "weight": 0.5, "ok": 1.0}
    assert reserved_numbers(row) == {"rank"}
    with pytest.raises(BadExample, match="'weight' is negative"):
        prompt_numbers({"weight": -1})


def test_numbers_of_tokens_must_be_as_many_as_there_are_tokens():
    check_lengths({"share": ((1.0, 2.0), (3.0,)), "rank": (0.0, 1.0)}, ([5, 1], [1]))
    with pytest.raises(Misfit, match="'share'") as error:
        check_lengths({"share": ((1.0, 2.0), (3.0,))}, ([5, 1], [6, 1]))
    assert error.value.detail == "1 entries, 2 tokens"


def test_a_batch_has_the_numbers_that_all_rows_have(write):
    rows = (pair(quality=1, rare=2), pair("r", quality="3"), pair("s", quality=True, rare=None))
    data = read(write(*rows), Preferences)
    assert [group.columns["quality"] for group in data.groups] == [(1, 1), (3, 3), (1, 1)]
    assert all(set(example.columns) == {"rank", "quality"} for example in data.examples)
    assert data.examples[0].extra == {"quality": 1, "rare": 2}
    assert set(batch_of(data.groups)[0].columns) == {"rank", "quality"}


def test_the_report_says_how_many_rows_have_a_number_and_where_it_is_first_missing(write):
    rows = (pair("a", late=None), "{", pair("b", late=1), pair("c", late="many"), pair("d", late=2, seldom=1))
    path = write(*rows)
    report = read(path, Preferences).report
    assert report.left_out == {
        "late": f"only 2 of 4 rows have numbers 'late'; the first without is {path}:1",
        "seldom": f"only 1 of 4 rows have numbers 'seldom'; the first without is {path}:1",
    }


def test_numbers_of_two_kinds_under_one_name_are_no_column(write):
    path = write(pair(share=1), pair("r", share=[[1, 2], [3, 4]]))
    data = read(path, Preferences)
    assert data.report.left_out == {
        "share": f"only 1 of 2 rows have numbers 'share'; the first without is {path}:2"
    }
    assert "share" not in batch_of(data.groups)[0].columns


def test_names_that_a_batch_uses_are_told_and_never_shadowed(write):
    data = read(write(pair(group=7, logps=1, source="web")), Preferences)
    assert data.report.reserved == ("group", "logps")
    assert any("'group', 'logps'" in line for line in data.report.lines())
    assert batch_of(data.groups)[0].group.tolist() == [0, 0]


def sized(text):
    return len(byte_tokenizer()(text)["input_ids"]) + 1


def test_lists_are_numbers_of_tokens_where_the_first_row_fits(write):
    long, short = "the cat", "a"
    fit = {"prompt": "q", "completion": long, "share": [0.5] * sized(long)}
    path = write(fit, {**fit, "completion": short}, {**fit, "prompt": "r"})
    data = read(path, Demonstrations)
    assert len(data) == 2
    reason = "'share' has another number of entries than the completion has tokens, its end included"
    assert data.report.dropped[reason].first == f"{path}:2: {sized(long)} entries, {sized(short)} tokens"
    assert batch_of(data.groups)[0].share.tolist() == [[0.5] * sized(long)] * 2


def test_lists_of_something_else_do_no_harm(write):
    row = {"prompt": "q", "completion": "the cat", "embedding": [0.5] * 50}
    path = write(row, {**row, "prompt": "r", "embedding": [1.0] * sized("the cat")})
    data = read(path, Demonstrations)
    assert (len(data), data.report.dropped) == (2, {})
    assert all(not group.columns for group in data.groups)
    assert f"({path}:1: 50 entries, {sized('the cat')} tokens)" in data.report.left_out["embedding"]
    assert data.examples[0].extra == {"embedding": row["embedding"]}


def test_numbers_of_a_pairs_tokens(write):
    row = pair(
        chosen=" the cat",
        rejected=" a",
        share_chosen=[2.0] * sized(" the cat"),
        share_rejected=[3] * sized(" a"),
    )
    batch, _ = batch_of(read(write(row), Preferences).groups)
    assert (batch.share == (batch.mask * (2 + (batch.rank[:, None])))).all()


def test_prompts_keep_the_numbers_of_the_row_for_all_that_is_sampled(write):
    rows = (
        pair(level=3, quality_chosen=1, quality_rejected=2, score=[1, 2], reward=1),
        {"prompt": "r", "level": "4", "nums": [1, 2]},
    )
    data = read(write(*rows), Prompts)
    assert [group.prompt_columns for group in data.groups] == [{"level": 3}, {"level": 4}]
    assert data.report.reserved == ("reward",)
    first, second = data.examples
    assert first.extra == {"level": 3, "reward": 1, "nums": None}
    assert second.extra == {"level": "4", "nums": [1, 2], "reward": None}


def test_a_weight_is_the_prompts_only_where_the_row_is_a_prompt_alone(write):
    alone = {"prompt": "q", "weight": 0.5}
    assert read(write(alone), Prompts).groups[0].prompt_columns == {"weight": 0.5}
    assert read(write(pair(weight=0.5, margin=2)), Prompts).groups[0].prompt_columns == {}
    report = read(write(alone, {"prompt": "r", "weight": -1}), Prompts).report
    assert report.dropped["'weight' is negative"].count == 1


def test_numbers_of_completions_do_not_outlive_them():
    extra = {"quality_chosen": 1, "quality_rejected": 2, "share": [1, 2], "level": 3}
    example = Example(
        "q", ("a", "b"), {"quality": (1.0, 2.0), "share": (1.0, 2.0), "level": (3.0, 3.0)}, extra
    )
    assert without_numbers_of_completions(example) == {"level": 3}
    alone = Example("q", ("a",), {"share": ((1.0, 2.0),)}, {"share": [1, 2]})
    assert without_numbers_of_completions(alone) == {"share": [1, 2]}
    assert adapt(example, Prompts).extra == {"level": 3}


def test_selected_completions_take_their_numbers_with_them_in_the_row_too():
    example = Example(
        "q", ("a", "b", "c"), {"quality": (1.0, 2.0, 3.0)}, {"quality": [1, 2, 3], "nums": [4, 5, 6]}
    )
    assert select(example, [2, 0]) == Example(
        "q", ("c", "a"), {"quality": (3.0, 1.0)}, {"quality": [3, 1], "nums": [4, 5, 6]}
    )


def test_columns_that_fit_no_row_are_given_up_once():
    own, example = OwnColumns(), Example("q", ("a",), {"a": ((1.0,),), "b": ((1.0, 2.0),)})

    def encode(example):
        check_lengths(example.columns, ([5, 1],))
        return Group([1], ([5, 1],), example.columns)

    group = own.encode(example, encode, "f:1")
    assert (group.columns, own.fitting, set(own.left_out)) == ({"b": ((1.0, 2.0),)}, {"b"}, {"a"})
    assert own.settle([group], ["f:1"]) == [group]
    with pytest.raises(Misfit, match="'b'"):
        own.encode(Example("q", ("a",), {"b": ((1.0,),)}), encode, "f:2")
