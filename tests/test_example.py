"""Examples as text and as tokens."""

import pytest

from alignkit import Group, text_of


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (" As it is.\n", " As it is.\n"),
        ([{"role": "assistant", "content": "One."}], "One."),
        ([{"role": "assistant", "content": "One."}, {"role": "tool", "content": "Two."}], "One.\nTwo."),
        ([{"role": "assistant", "content": None}], ""),
        ([], ""),
    ],
)
def test_a_conversation_says_what_its_messages_say_in_order(said, text):
    assert text_of(said) == text


def test_a_group_counts_its_prompt_once():
    assert Group([1, 2, 3], ([4], [5, 6])).tokens == 6
    assert Group([1, 2]).tokens == 2


def test_a_group_with_several_prompts_counts_the_longest():
    assert Group([1, 2], ([4],), prompts={"hinted": [1, 2, 3], "short": [1]}).tokens == 4


def test_under_another_prompt_the_completions_and_their_numbers_are_the_same():
    group = Group([1, 2], ([4], [5]), {"rank": (0.0, 1.0)}, prompts={"hinted": [7, 8, 9]}, text="q")
    hinted = group.under("hinted")
    assert (hinted.prompt, hinted.text) == ([7, 8, 9], None)
    assert (hinted.completions, hinted.columns) == (group.completions, group.columns)
    with pytest.raises(KeyError, match="other"):
        group.under("other")


def test_selected_completions_keep_what_belongs_to_them():
    group = Group(
        [1],
        ([4, 5], [6], [7]),
        {"rank": (0.0, 1.0, 2.0), "share": ((0.5, 0.25), (1.0,), (2.0,))},
        masks=((False, True), (True,), (True,)),
        prompts={"hinted": [2]},
        prompt_columns={"level": 3.0},
        text="q",
    )
    assert group.select([2, 0]) == Group(
        [1],
        ([7], [4, 5]),
        {"rank": (2.0, 0.0), "share": ((2.0,), (0.5, 0.25))},
        masks=((True,), (False, True)),
        prompts={"hinted": [2]},
        prompt_columns={"level": 3.0},
        text="q",
    )
