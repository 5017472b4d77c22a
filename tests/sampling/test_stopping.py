"""Stop strings found as tokens come, beside decoding everything anew at every token."""

from itertools import pairwise

import pytest
from tiny_tokenizers import byte_tokenizer, prefixing_tokenizer

from alignkit.sampling.stopping import StopWatch


def texts(tokenizer):
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=False)


def naive(stops, text, tokens):
    """Whether each token makes a stop string appear, from the whole text before and after it."""

    def count(upto):
        whole = text(tokens[:upto]).rstrip("\N{REPLACEMENT CHARACTER}")
        return sum(whole[start:].startswith(stop) for stop in stops for start in range(len(whole)))

    counts = [count(upto) for upto in range(len(tokens) + 1)]
    return [after > before for before, after in pairwise(counts)]


def watched(stops, text, tokens):
    watch = StopWatch(stops, text)
    return [watch.completes(token) for token in tokens]


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("make", [byte_tokenizer, prefixing_tokenizer])
@pytest.mark.parametrize(
    "stops", [("end",), ("e",), ("\n\n",), ("the cat", "hello"), ("x" * 30,), ("user:", "ser: sys")]
)
def test_as_soon_as_decoding_the_whole_sample_would_find_it(make, stops, rng):
    text, tokenizer = texts(make()), make()
    for _ in range(20):
        words = [
            rng.choice(["the cat", " sat", "\n", "\n\n", " end", "hello", "x", "x" * 40, "user: sys", "q"])
            for _ in range(25)
        ]
        tokens = encode(tokenizer, "".join(words))
        tokens += [rng.randrange(len(tokenizer)) for _ in range(10)]
        assert watched(stops, text, tokens) == naive(stops, text, tokens)


def test_characters_of_several_tokens():
    tokenizer = byte_tokenizer()
    tokens = encode(tokenizer, "añb→日本語" * 12)
    found = watched(("→日", "語a"), texts(tokenizer), tokens)

    assert len(tokens) > 12 * 7, "bytes, not characters"
    assert found == naive(("→日", "語a"), texts(tokenizer), tokens)
    assert sum(found) == 12 + 11


def test_a_stop_string_of_more_tokens_than_characters():
    tokenizer, stop = byte_tokenizer(), "語本日" * 10 + "語"  # whole characters in the newest 31 + 8 tokens
    tokens = encode(tokenizer, "añb→日本語" * 12 + stop)
    found = watched((stop,), texts(tokenizer), tokens)

    assert len(encode(tokenizer, stop)) > 2 * len(stop) + 16, "more than a shortened window holds"
    assert found == [False] * (len(tokens) - 1) + [True]


def test_random_bytes(rng):
    tokenizer = byte_tokenizer()
    for _ in range(20):
        tokens = [rng.randrange(len(tokenizer)) for _ in range(120)]
        assert watched(("e", "th", "<eot>"), texts(tokenizer), tokens) == naive(
            ("e", "th", "<eot>"), texts(tokenizer), tokens
        )


def test_only_the_newest_tokens_are_decoded():
    tokenizer, lengths = byte_tokenizer(), []

    def text(ids):
        lengths.append(len(ids))
        return tokenizer.decode(ids)

    watch = StopWatch(("stop",), text)
    for token in encode(tokenizer, "abcdefg " * 200):
        assert not watch.completes(token)

    assert max(lengths) <= 2 * len("stop") + 16
