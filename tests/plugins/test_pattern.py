"""The reward `pattern`."""

import pytest
from pydantic import ValidationError

from alignkit.recipe.mistakes import mistake_of
from alignkit_pattern import Pattern, register_rewards


def score(reward, *completions):
    return reward.score(["Well?"] * len(completions), list(completions))


def test_the_expression_is_found_anywhere():
    assert score(Pattern(pattern=r"\d+ apples"), "I ate 12 apples.", "I ate apples.", "") == [1.0, 0.0, 0.0]


def test_a_full_match_leaves_nothing_over():
    assert score(Pattern(pattern=r"\d+", full=True), "12", "12.", "12\n", "a 12") == [1.0, 0.0, 0.0, 0.0]


def test_a_full_match_tries_every_alternative():
    assert score(Pattern(pattern="a|ab", full=True), "ab") == [1.0]


def test_the_scores_are_options():
    assert score(Pattern(pattern="yes", found=2.5, missing=-1), "yes", "no") == [2.5, -1.0]


def test_flags_are_written_into_the_expression():
    assert score(Pattern(pattern="(?is)YES.*please"), "yes,\nplease") == [1.0]
    assert score(Pattern(pattern="YES.*please"), "yes,\nplease") == [0.0]


def test_a_conversation_is_read_as_one_text():
    said = [{"role": "assistant", "content": "one"}, {"role": "assistant", "content": "two"}]

    assert score(Pattern(pattern=r"one\ntwo", full=True), said) == [1.0]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("(a", "unterminated subpattern at position 0"),
        ("*", "nothing to repeat"),
        ("a{99999999999999999999}", "repetition number"),
    ],
)
def test_an_invalid_expression_is_refused_with_its_key_and_the_reason(wrong, reason):
    with pytest.raises(ValidationError) as raised:
        Pattern(pattern=wrong)

    told = str(mistake_of(raised.value, Pattern, "stages.ranked.by.pattern"))
    assert told.startswith("stages.ranked.by.pattern.pattern: not a regular expression: ")
    assert reason in told
    assert repr(wrong) in told


def test_the_expression_is_required():
    with pytest.raises(ValidationError, match="pattern"):
        Pattern()


def test_a_score_is_a_number():
    with pytest.raises(ValidationError, match="found"):
        Pattern(pattern="a", found=float("nan"))


def test_it_registers_under_its_name():
    found = []
    register_rewards(found.append)

    assert [reward.name for reward in found] == ["pattern"]
