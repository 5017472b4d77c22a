"""Calling a measure and checking its answer."""

import math

import numpy as np
import pytest

from alignkit import UserError
from alignkit.evaluation.measuring import measure
from alignkit.measure import Samples

SAMPLES = Samples(["p", "q"], [["a"], ["b"]], [[[1]], [[2]]], [[True], [True]], [[0.5], []])


def test_numbers_and_none_are_an_answer():
    assert measure(lambda samples: [np.float32(0.5), None], "odd", SAMPLES) == [0.5, None]
    assert measure(lambda samples: iter([1, True]), "odd", SAMPLES) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda samples: [1.0], "found 1 numbers for 2 prompts"),
        (lambda samples: 1.0, "TypeError"),
        (lambda samples: ["a", 1.0], "found the value 'a' for the prompt 'p'"),
        (lambda samples: [0.0, math.nan], "found the value nan for the prompt 'q'"),
        (lambda samples: [1 / 0 for _ in samples.tokens], "ZeroDivisionError: division by zero"),
    ],
)
def test_a_mistaken_measure_is_named(answer, words):
    with pytest.raises(UserError, match=words) as caught:
        measure(answer, "odd", SAMPLES)
    assert caught.value.where == "measure 'odd'"
