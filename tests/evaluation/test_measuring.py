"""Calling a measure and checking its answer."""

import math

import numpy as np
import pytest

from alignkit import UserError
from alignkit.evaluation.measuring import measure
from alignkit.measure import Measure, Metric, Samples

SAMPLES = Samples(["p", "q"], [["a"], ["b"]], [[[1]], [[2]]], [[True], [True]], [[0.5], []])


def ask(call):
    return measure(Measure("odd", call, Metric("odd")), SAMPLES)


def test_numbers_and_none_are_an_answer():
    assert ask(lambda samples: [np.float32(0.5), None]) == [0.5, None]
    assert ask(lambda samples: iter([1, True])) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda samples: [1.0], "found 1 numbers for 2 prompts"),
        (lambda samples: 1.0, "found 1.0"),
        (lambda samples: ["a", 1.0], "found the number 'a' for the prompt 'p'"),
        (lambda samples: [0.0, math.nan], "found the number nan for the prompt 'q'"),
        (lambda samples: [1 / 0 for _ in samples.tokens], "ZeroDivisionError: division by zero"),
    ],
)
def test_a_mistaken_measure_is_named(answer, words):
    with pytest.raises(UserError, match=words) as caught:
        ask(answer)
    assert caught.value.where == "measure 'odd'"


def test_the_plugin_and_its_line_are_named():
    def broken(samples):
        raise ValueError("boom")

    line = broken.__code__.co_firstlineno + 1
    with pytest.raises(UserError, match=rf"ValueError: boom \(test_measuring.py:{line}\)") as caught:
        measure(Measure("odd", broken, Metric("odd"), "mine"), SAMPLES)
    assert caught.value.where == "measure 'odd' of plugin 'mine'"
