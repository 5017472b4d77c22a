"""What a reward's author uses."""

import pytest

from alignkit import Reward, UserError, needed_column


def test_a_needed_column_is_given_or_its_absence_told():
    assert needed_column({"answer": [1, 2]}, "answer", "exact") == [1, 2]
    with pytest.raises(
        UserError, match="needs the data's column 'answer', which is missing; found: tag"
    ) as caught:
        needed_column({"tag": ["x"]}, "answer", "exact")
    assert caught.value.where == "reward 'exact'"


def test_a_reward_without_a_score_says_so():
    class Odd(Reward):
        pass

    with pytest.raises(NotImplementedError, match="Odd defines no `score`"):
        Odd().score([], [])
