"""Numbers of steps and of whole completions, put at the tokens where they belong."""

import pytest

from alignkit.rewards.given import PerStep, PerToken
from alignkit.rewards.placing import added_at_end, at_tokens, token_at

TOKENS = {1: "", 5: "Two", 6: " and", 7: " two.", 8: " Four.", 9: b"\xc3", 10: b"\xa9t"}
"""9 and 10 hold the two bytes of one character; 1 is end-of-sequence."""


def text(ids):
    pieces = [TOKENS[number] for number in ids]
    return b"".join(p if isinstance(p, bytes) else p.encode() for p in pieces).decode(errors="replace")


IDS = [5, 6, 7, 8, 1]  # "Two and two. Four."


@pytest.mark.parametrize(
    ("end", "place"), [(1, 0), (3, 0), (4, 1), (7, 1), (8, 2), (12, 2), (13, 3), (18, 3), (19, 4)]
)
def test_a_character_lies_in_the_token_in_which_it_ends(end, place):
    assert token_at(end, IDS, text) == place


def test_a_character_of_two_tokens_ends_in_the_second():
    assert text([5, 9]) == "Two�"
    assert [token_at(end, [5, 9, 10, 1], text) for end in (3, 4, 5)] == [0, 2, 2]


def test_steps_stand_at_their_last_tokens_and_those_of_one_token_are_added():
    given = PerStep(((12, 0.5), (17, -1.0), (18, 0.25)))
    assert at_tokens(given, IDS, text) == [0, 0, 0.5, -0.75, 0]


def test_one_number_stands_at_the_last_token_and_numbers_of_tokens_stay():
    assert at_tokens(2.0, IDS, text) == [0, 0, 0, 0, 2]
    assert at_tokens(PerToken((1.0, 2.0)), [5, 1], text) == [1, 2]
    assert added_at_end([1.0, 2.0], -0.5) == [1, 1.5]


def test_a_completion_without_a_score_has_no_place():
    with pytest.raises(ValueError, match="abstains"):
        at_tokens(None, IDS, text)
