"""The reward `sentiment`."""

import pytest

from alignkit_sentiment import Sentiment, register_rewards


def score(*completions):
    return Sentiment().score(["What was it like?"] * len(completions), list(completions))


def test_kind_words_score_above_neutral_ones_and_those_above_harsh_ones():
    kind, neutral, harsh = score(
        "I love this, it is wonderful!", "The table has four legs.", "I hate this, it is horrible."
    )

    assert 1 >= kind > neutral > harsh >= -1
    assert neutral == 0


def test_the_compound_is_the_papers_normalised_valence():
    # The lexicon gives "good" a valence of 1.9, so that the compound is 1.9 / sqrt(1.9² + 15) = 0.4404.
    assert score("good") == [pytest.approx(1.9 / (1.9**2 + 15) ** 0.5, abs=1e-4)]


def test_a_conversation_scores_like_its_text():
    said, written = score([{"role": "assistant", "content": "What a lovely day."}], "What a lovely day.")

    assert said == written


def test_the_prompt_has_no_influence():
    assert Sentiment().score(["I hate you."], ["Good morning."]) == Sentiment().score(
        ["I love you."], ["Good morning."]
    )


@pytest.mark.parametrize("empty", ["", " \n", [], [{"role": "assistant", "content": None}]])
def test_an_empty_completion_is_not_judged(empty):
    assert score(empty) == [None]


def test_it_registers_under_its_name():
    found = []
    register_rewards(found.append)

    assert [reward.name for reward in found] == ["sentiment"]
