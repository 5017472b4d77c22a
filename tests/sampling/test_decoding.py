"""Sampled tokens become completions: text after a text, messages after a conversation."""

import pytest
import torch
from tiny_models import tiny_model
from tiny_tokenizers import CHATML, byte_tokenizer

from alignkit.example import Example, Group
from alignkit.models.base import Base
from alignkit.sampler import Drawn
from alignkit.sampling.decoding import decode


@pytest.fixture
def base():
    tokenizer = byte_tokenizer(CHATML)
    model = tiny_model(vocab_size=len(tokenizer))
    return Base(model, tokenizer, torch.float32, torch.device("cpu"), None)


def drawn(base, text, *, finished=True):
    ids = base.tokenizer.encode(text, add_special_tokens=False)
    return Drawn(ids, [0.0] * len(ids), finished)


def test_a_text_gets_texts_and_a_conversation_gets_messages_of_the_assistant(base):
    said = [{"role": "user", "content": "hello"}]
    ids = base.tokenizer.encode("hello", add_special_tokens=False)
    examples = [Example("hello", extra={"answer": 4}), Example(said)]
    samples = [[drawn(base, " world"), drawn(base, " cat", finished=False)], [drawn(base, "world")]]

    texts, tokens = decode(base, examples, [Group(ids), Group(ids, truncated=True)], samples)

    assert texts == [
        Example("hello", (" world", " cat"), {"finished": (1.0, 0.0)}, {"answer": 4}),
        Example(said, ([{"role": "assistant", "content": "world"}],), {"finished": (1.0,)}),
    ]
    assert tokens == [
        Group(ids, tuple(one.tokens for one in samples[0]), {"finished": (1.0, 0.0)}),
        Group(ids, (samples[1][0].tokens,), {"finished": (1.0,)}, truncated=True),
    ]
