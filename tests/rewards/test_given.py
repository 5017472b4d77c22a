"""What a reward gives a completion: a number, numbers of tokens, numbers of steps."""

import math

import numpy as np
import pytest
import torch

from alignkit import UserError
from alignkit.answers import Question
from alignkit.rewards.given import PerStep, PerToken, read_given, total_of

COMPLETIONS = ["Yes. No.", [{"role": "assistant", "content": "Ha"}]]
IDS = [[5, 6, 1], [7, 1]]


def read(answer):
    return read_given(Question(["p", "q"], "score", "completions", "reward 'odd'"), answer, COMPLETIONS, IDS)


@pytest.mark.parametrize(
    ("answer", "given"),
    [
        ([1, None], [1.0, None]),
        ([[1, 2, 3], None], [PerToken((1, 2, 3)), None]),
        ([np.array([1, 2, 3]), torch.tensor([4.0, 5.0])], [PerToken((1, 2, 3)), PerToken((4, 5))]),
        ([[(4, 1), [8, -2]], [(2, 3)]], [PerStep(((4, 1), (8, -2))), PerStep(((2, 3),))]),
        ([[], [(1, 3)]], [PerStep(()), PerStep(((1, 3),))]),
        ([torch.tensor([1.0]), torch.tensor([2.0])], [1.0, 2.0]),
    ],
)
def test_every_form_is_read(answer, given):
    assert read(answer) == given


def test_an_array_of_one_element_is_a_list_beside_lists():
    question = Question(["p", "q"], "score", "completions", "reward 'odd'")
    found = read_given(question, [np.array([1, 2]), np.array([3])], ["ab", "c"], [[5, 1], [1]])
    assert found == [PerToken((1, 2)), PerToken((3,))]


def test_the_total_is_the_sum():
    assert total_of(PerToken((1, 2.5))) == 3.5
    assert total_of(PerStep(((4, 1), (8, -3)))) == -2
    assert total_of(PerStep(())) == 0
    assert total_of(None) is None
    assert total_of(2.0) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([1.0, [1, 2]], "lists for some completions and numbers for others"),
        ([[1, 2], None], r"found 2 numbers for the completion 'Yes. No.' of the prompt 'p', which has 3 tok"),
        ([[1, math.nan, 2], None], "found the score nan for the prompt 'p'"),
        ([[(9, 1)], None], r"a step that ends at 9 .* whose text has 8 characters"),
        ([None, [(3, 1)]], r"a step that ends at 3 .* whose text has 2 characters"),
        ([[(0, 1)], None], "a step that ends at 0"),
        ([[(1.5, 1)], None], "a step that ends at 1.5"),
        ([[(1, math.inf)], None], "found the score inf"),
        ([[(1, 1), 2], None], "found the step 2"),
        ([[(1, 1, 1)], None], r"found the step \(1, 1, 1\)"),
    ],
)
def test_what_has_no_such_form_is_refused(answer, words):
    with pytest.raises(UserError, match=words) as caught:
        read(answer)
    assert caught.value.where == "reward 'odd'"
