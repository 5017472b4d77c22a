"""The rewards `length` and `overlong`."""

import random

import pytest
from pydantic import ValidationError
from trl.rewards import get_soft_overlong_punishment

from alignkit_length import Length, Overlong, register_rewards


def score(reward, *completions):
    return reward.score(["Say it."] * len(completions), list(completions))


def words(*counts):
    return [" ".join(["word"] * count) for count in counts]


def test_words_stand_between_white_space():
    assert score(Length(), "", "  one\ttwo\n\nthree, ", "one-two") == [0.0, 3.0, 1.0]


def test_characters_are_code_points_white_space_included():
    assert score(Length(unit="characters"), "", "ab c\n", "żółć") == [0.0, 5.0, 4.0]


def test_a_conversation_is_as_long_as_its_text():
    said = [{"role": "assistant", "content": "two words"}, {"role": "assistant", "content": "and three more"}]

    assert score(Length(), said) == [5.0]


def test_the_punishment_falls_from_the_soft_to_the_hard_limit():
    # Eq. 13 with L_max = 20, L_cache = 10: (10 − 13) ÷ 10 = −0.3 at 13 words, (10 − 20) ÷ 10 = −1 at 20.
    scores = score(Overlong(soft_limit=10, hard_limit=20), *words(0, 10, 13, 15, 20, 21, 500))

    assert scores == [0.0, 0.0, -0.3, -0.5, -1.0, -1.0, -1.0]


def test_the_punishment_counts_the_unit_asked_for():
    in_words, in_characters = (
        Overlong(unit=unit, soft_limit=4, hard_limit=8) for unit in ("words", "characters")
    )

    assert score(in_words, "abc de") == [0.0]  # 2 words
    assert score(in_characters, "abc de") == [-0.5]  # 6 characters


def test_equal_limits_punish_every_longer_completion_wholly():
    assert score(Overlong(soft_limit=3, hard_limit=3), *words(3, 4)) == [0.0, -1.0]


def test_the_punishment_is_trls_of_as_many_tokens():
    rng = random.Random(0)
    for _ in range(50):
        hard = rng.randint(1, 40)
        cache = rng.randint(0, hard)
        counts = [rng.randint(0, 50) for _ in range(10)]
        theirs = get_soft_overlong_punishment(hard, cache)(completion_ids=[[7] * count for count in counts])

        assert score(Overlong(soft_limit=hard - cache, hard_limit=hard), *words(*counts)) == theirs


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"soft_limit": 9, "hard_limit": 8}, "soft_limit 9 is above hard_limit 8"),
        ({"soft_limit": -1, "hard_limit": 8}, "soft_limit"),
        ({"hard_limit": 8}, "soft_limit"),
        ({"soft_limit": 1, "hard_limit": 8, "unit": "tokens"}, "'words' or 'characters'"),
    ],
)
def test_limits_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValidationError, match=words):
        Overlong(**options)


def test_both_register():
    found = []
    register_rewards(found.append)

    assert [reward.name for reward in found] == ["length", "overlong"]
