"""The samples of a batch while they are drawn: where each ends, and which stay in the batch."""

import math

import pytest
import torch

from alignkit.sampler import Drawn, Sampling
from alignkit.sampling.drawing import LEAVE, SamplesInProgress

VOCABULARY, PAD, END = 4, 0, 1
HALF = math.log(0.5)


def drawing_of(count, *, text=None, **settings) -> SamplesInProgress:
    chosen = Sampling(temperature=0, **{"max_tokens": 5, **settings})
    return SamplesInProgress(
        torch.zeros(count, chosen.max_tokens), chosen, ends=torch.tensor([END]), pad=PAD, text=text
    )


def logits_of(*tokens):
    """Logits by which each sample's next token is the given one with probability 1/2."""
    probability = torch.full((len(tokens), VOCABULARY), 0.5 / (VOCABULARY - 1))
    probability[torch.arange(len(tokens)), torch.tensor(tokens)] = 0.5
    return probability.log()


def test_samples_end_with_an_end_token_and_are_cut_there():
    drawing = drawing_of(2)
    for tokens in ((2, 3), (1, 3), (2, 3), (3, 2), (2, 1)):
        drawing.draw(logits_of(*tokens))

    assert drawing.done
    assert drawing.samples() == [
        Drawn([2, 1], pytest.approx([HALF] * 2), True),
        Drawn([3, 3, 3, 2, 1], pytest.approx([HALF] * 5), True),
    ]


def test_a_sample_without_an_end_is_full_and_not_finished():
    drawing = drawing_of(1, max_tokens=2)
    drawing.draw(logits_of(2))
    assert not drawing.done
    drawing.draw(logits_of(3))

    assert drawing.done
    assert drawing.samples() == [Drawn([2, 3], pytest.approx([HALF] * 2), False)]


def test_it_is_done_as_soon_as_every_sample_has_ended():
    drawing = drawing_of(2)
    drawing.draw(logits_of(END, 2))
    assert (drawing.done, drawing.left) == (False, 1)
    drawing.draw(logits_of(2, END))

    assert (drawing.done, drawing.left) == (True, 0)


def test_before_min_tokens_no_end_is_drawn():
    drawing = drawing_of(1, min_tokens=2)
    for _ in range(3):
        drawing.draw(logits_of(END))

    [sample] = drawing.samples()
    assert END not in sample.tokens[:2]
    assert (sample.tokens[2], sample.finished) == (END, True)


def test_finished_samples_leave_once_they_are_an_eighth_of_the_batch():
    drawing = drawing_of(17)
    drawing.draw(logits_of(END, END, *[2] * 15))
    assert LEAVE == 1 / 8
    assert drawing.leave() is None  # 2 of 17 are fewer than an eighth

    drawing.draw(logits_of(2, 2, END, *[3] * 14))
    staying = drawing.leave()

    assert staying is not None
    assert staying.tolist() == list(range(3, 17))
    assert drawing.rows.tolist() == list(range(3, 17))
    assert drawing.newest.tolist() == [3] * 14

    drawing.draw(logits_of(END, *[2] * 13))
    assert [sample.tokens for sample in drawing.samples()][:4] == [[1], [1], [2, 1], [2, 3, 1]]


def test_a_stop_string_ends_a_sample_with_the_token_that_completes_it():
    drawing = drawing_of(2, stop=("cb",), text=lambda ids: "".join("$%bc"[i] for i in ids))
    for tokens in ((3, 2), (2, 3), (2, 3), (2, 2)):
        drawing.draw(logits_of(*tokens))

    assert [(sample.tokens, sample.finished) for sample in drawing.samples()] == [
        ([3, 2], True),
        ([2, 3, 3, 2], True),
    ]
