"""Measures of completions, counted by hand."""

import pytest

from alignkit import Samples
from alignkit.registry import Registry
from alignkit_measures import distinct, repetition


def test_repetition_is_the_share_of_n_grams_seen_before():
    # a b a b a b: the pairs ab ba ab ba ab, of which three were seen before.
    assert repetition(list("ababab"), n=2) == 1 - 2 / 5


def test_a_loop_of_one_word_repeats_all_but_its_first_n_gram():
    assert repetition([7] * 23, n=4) == 1 - 1 / 20


def test_a_completion_without_repetition_or_shorter_than_n_has_none():
    assert repetition([1, 2, 3, 4, 5, 6]) == 0
    assert repetition([1, 1, 1]) == 0
    assert repetition([]) == 0


def test_distinct_counts_over_all_completions_and_across_no_border():
    # "a b c" and "a b": the pairs ab, bc, ab. No pair joins two completions.
    assert distinct([["a", "b", "c"], ["a", "b"]]) == 2 / 3


def test_equal_completions_are_as_distinct_as_one_divided_by_their_number():
    assert distinct([[1, 2, 3, 4]] * 5, n=1) == 1 / 5


def test_distinct_of_nothing_is_no_number():
    assert distinct([]) is None
    assert distinct([[1]], n=2) is None


def test_the_order_of_completions_does_not_matter(rng):
    completions = [[rng.randrange(4) for _ in range(rng.randrange(9))] for _ in range(6)]
    assert distinct(completions) == distinct(completions[::-1])


SAMPLES = Samples(
    prompts=["a", "b"],
    completions=[["x", "y"], ["z", "z"]],
    tokens=[[[1, 2], [1, 2, 3, 4]], [[5] * 5, [5]]],
    finished=[[True, False], [False, False]],
    log_ratios=[[0.5, 1.5], []],
)


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("kl", "KL to the reference (nats per completion)", [1.0, None]),
        ("length", "length (tokens)", [3.0, 3.0]),
        ("unfinished", "unfinished (share of completions)", [0.5, 1.0]),
        ("repetition-4", "repetition (share of 4-grams)", [0.0, 0.25]),  # two 5555, of which one was seen
        ("distinct-2", "distinct 2-grams (share)", [0.75, 0.25]),  # 12 12 23 34, and four times 55
    ],
)
def test_a_measure_gives_one_number_per_prompt_with_its_label(name, label, values):
    measure = Registry().measures.items[name]

    assert str(measure.metric) == label
    assert measure.call(SAMPLES) == pytest.approx(values)


def test_measures_are_registered_in_the_order_of_tables():
    assert list(Registry().measures.items) == ["kl", "length", "unfinished", "repetition-4", "distinct-2"]
