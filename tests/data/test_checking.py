"""Examples take the shape that an objective needs, or say why they cannot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizers import assistant

from alignkit import BadExample, Demonstrations, Example, Labelled, Preferences, Prompts
from alignkit.data.checking import Mismatch, adapt, needed, select, without_blank
from alignkit.data.contradictions import Contradictions
from alignkit.objective import DataKind


def ranked(*ranks, completions="abcdef", prompt="q"):
    return Example(prompt, tuple(completions[: len(ranks)]), {"rank": tuple(map(float, ranks))})


def test_a_demonstration_is_the_best_completion_and_of_ties_the_first():
    example = Example(
        "q", ("a", "b", "c"), {"rank": (1.0, 0.0, 0.0), "weight": (3.0, 3.0, 3.0), "reward": (1.0, 2.0, 2.0)}
    )
    assert adapt(example, Demonstrations) == Example("q", ("b",), {"weight": (3.0,), "reward": (2.0,)})


def test_only_what_is_labelled_good_is_imitated():
    with pytest.raises(BadExample, match="labelled good"):
        adapt(Example("q", ("a",), {"label": (0.0,)}), Demonstrations)
    assert adapt(Example("q", ("a",), {"label": (1.0,)}), Demonstrations) == Example("q", ("a",))


def test_prompts_drop_completions_whatever_is_wrong_with_them():
    assert adapt(Example("q", ("", ""), {"rank": (0.0, 1.0)}, {"answer": 1}), Prompts) == Example(
        "q", (), {}, {"answer": 1}
    )


@pytest.mark.parametrize(
    ("example", "kind"),
    [
        (Example("q"), Demonstrations),
        (Example("q", ("a",)), Preferences),
        (Example("q", ("a", "b")), Preferences),
        (ranked(0, 1), Labelled),
    ],
)
def test_sound_data_of_another_kind_is_a_mismatch(example, kind):
    with pytest.raises(Mismatch):
        adapt(example, kind)


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (ranked(0, 1, prompt=" \n"), "empty prompt"),
        (ranked(0, 1, prompt=[]), "empty prompt"),
        (ranked(0, 1, completions=("a", " ")), "empty completion"),
        (ranked(0, 1, completions=([assistant("a")], [])), "empty completion"),
        (ranked(0, 1, completions=([assistant("a")], [assistant("a"), assistant("")])), "empty completion"),
        (
            ranked(
                0,
                1,
                completions=(
                    [assistant("a")],
                    [assistant("b"), {"role": "system", "content": "c"}, assistant("d")],
                ),
            ),
            "a turn of neither",
        ),
        (
            ranked(0, 1, completions=([assistant("a")], [assistant("b"), {"role": "tool", "content": "c"}])),
            "does not end in",
        ),
        (ranked(0, 0), "all completions tie"),
        (ranked(0, 1, completions=("a", "a\n")), "identical completions"),
        (ranked(0, 1, 2, completions="aaa"), "identical completions"),
    ],
)
def test_unusable_preferences_say_why(example, reason):
    with pytest.raises(BadExample, match=reason):
        adapt(example, Preferences)


def test_a_ranking_loses_only_what_is_better_than_itself():
    example = ranked(0, 1, 2, 3, completions="abac")
    assert adapt(example, Preferences) == Example("q", ("b", "c"), {"rank": (1.0, 3.0)})


def test_the_same_completion_twice_at_one_rank_is_a_tie():
    example = ranked(0, 0, 1, completions="aab")
    assert adapt(example, Preferences) == example


@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=5),
    st.lists(st.sampled_from("abc"), min_size=5, max_size=5),
)
def test_no_accepted_preference_contradicts_itself(ranks, completions):
    try:
        example = adapt(ranked(*ranks, completions=completions), Preferences)
    except BadExample:
        return
    Contradictions().check(example)
    of = {}
    for text, rank in zip(example.completions, example.columns["rank"], strict=True):
        assert of.setdefault(text, rank) == rank
    assert len(set(of.values())) > 1


def test_selected_completions_keep_their_numbers_and_the_row_its_other_columns():
    example = Example("q", ("a", "b", "c"), {"rank": (0.0, 1.0, 2.0)}, {"answer": 1})
    assert select(example, [2, 0]) == Example("q", ("c", "a"), {"rank": (2.0, 0.0)}, {"answer": 1})


def test_blank_completions_leave_with_their_numbers():
    example = Example("q", ("a", " \n", [assistant(" ")], "b"), {"rank": (0.0, 1.0, 2.0, 3.0)})
    assert without_blank(example) == Example("q", ("a", "b"), {"rank": (0.0, 3.0)})


def test_a_plugins_own_kind_takes_examples_as_they_are():
    class Own(DataKind):
        pass

    class OwnPreferences(Preferences):
        pass

    example = Example("q", ("a",), {"stars": (5.0,)})
    assert adapt(example, Own) == example
    assert needed(OwnPreferences) == needed(Preferences)
    with pytest.raises(Mismatch):
        adapt(example, OwnPreferences)
