"""A pair that contradicts an earlier pair of the same prompt is refused."""

import pytest
from tiny_tokenizers import assistant, user

from alignkit import BadExample, Example
from alignkit.data.contradictions import Contradictions


def ranked(*ranks, completions="abcdef", prompt="q"):
    return Example(prompt, tuple(completions[: len(ranks)]), {"rank": tuple(map(float, ranks))})


def test_a_pair_the_other_way_round_contradicts_an_earlier_one():
    memory = Contradictions()
    memory.check(ranked(0, 1))
    memory.check(ranked(0, 1))
    memory.check(ranked(1, 0, prompt="another"))
    with pytest.raises(BadExample, match="contradicts"):
        memory.check(ranked(1, 0))
    with pytest.raises(BadExample, match="contradicts"):
        memory.check(ranked(2, 0, 1, completions="acb"))
    memory.check(ranked(0, 0))


def test_white_space_around_a_text_makes_no_other_pair():
    memory = Contradictions()
    memory.check(ranked(0, 1))
    with pytest.raises(BadExample, match="contradicts"):
        memory.check(ranked(0, 1, completions=("b\n", " a"), prompt="q "))


def test_conversations_are_compared_by_role_and_content():
    memory = Contradictions()
    prompt, a, b = [user("q")], [assistant("a")], [assistant("b")]
    memory.check(ranked(0, 1, completions=(a, b), prompt=prompt))
    memory.check(ranked(0, 1, completions=(b, a), prompt=[{"role": "system", "content": "q"}]))
    with pytest.raises(BadExample, match="contradicts"):
        memory.check(ranked(0, 1, completions=(b, a), prompt=prompt))


def test_of_a_refused_example_nothing_is_remembered():
    memory = Contradictions()
    memory.check(ranked(0, 1))
    with pytest.raises(BadExample):
        memory.check(ranked(1, 0, 2))
    memory.check(ranked(1, 0, completions="ca"))


def test_examples_without_ranks_or_pairs_are_not_compared():
    memory = Contradictions()
    for example in (Example("q", ("a", "b")), Example("q", ("a",), {"rank": (0.0,)}), Example("q")):
        memory.check(example)
    assert not memory.seen
