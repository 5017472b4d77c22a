"""Held-out prompts are on one side only, the same side in every stage."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import read
from tiny_tokenizers import user

from alignkit import Demonstrations, Example, Group, Preferences, UserError
from alignkit.data.held_out import split_held_out
from alignkit.data.loading import Dataset
from alignkit.data.report import Tally


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


def test_chains_of_equal_text_and_equal_tokens_stay_together():
    """Each prompt shares its text with one neighbor and its tokens with the other."""
    chain = [(number // 2, (number + 1) // 2) for number in range(40)]
    pairs = [*reversed(chain), ("other", 99)]
    data = Dataset(
        [Example(str(text)) for text, _ in pairs],
        [Group([tokens], ([number],)) for number, (_, tokens) in enumerate(pairs)],
        Tally("x").report(),
    )
    for seed in range(9):
        assert {len(side) for side in split_held_out(data, 0.5, seed)} == {40, 1}
