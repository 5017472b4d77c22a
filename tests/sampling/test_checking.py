"""What a sampler returns is checked, whoever brought it."""

import math
import re

import pytest
from tiny_models import VOCABULARY, tiny_roles

from alignkit import Drawn, Sampler, Sampling, UserError
from alignkit.sampling.checking import draw

PROMPTS = [[5, 6], [7]]
SETTINGS = Sampling(2, max_tokens=3)
GOOD = Drawn([8, 1], [-0.5, -0.25], True)


class Odd(Sampler):
    name = "odd"
    plugin = "strange"

    def __init__(self, answer):
        super().__init__(tiny_roles())
        self.answer = answer

    def sample(self, role, prompts, settings, *, numbers=None, progress=None):
        return self.answer() if callable(self.answer) else self.answer


def drawn(answer):
    return draw(Odd(answer), "policy", PROMPTS, SETTINGS)


def with_last(sample):
    return [[GOOD, GOOD], [GOOD, sample]]


def test_good_samples_pass():
    highest = Drawn([VOCABULARY - 1] * 3, [0.0, -1.0, -2.0], False)
    assert drawn(with_last(highest)) == [[GOOD, GOOD], [GOOD, highest]]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([[GOOD, GOOD]], "it: found 1 prompts, expected 2"),
        (None, "it: found NoneType, expected a list of 2 prompts"),
        ([[GOOD, GOOD], [GOOD]], "prompt 1 of 2: found 1 completions, expected 2"),
        ([[GOOD, GOOD], GOOD], "prompt 1 of 2: found Drawn, expected a list of 2 completions"),
        (with_last([8, 1]), "sample 1 of prompt 1 of 2: found list, expected Drawn"),
        (with_last(Drawn([], [], True)), "sample 1 of prompt 1 of 2: found 0 tokens, expected 1 to 3"),
        (with_last(Drawn([8] * 4, [-1.0] * 4, False)), "found 4 tokens, expected 1 to 3"),
        (with_last(Drawn([VOCABULARY], [-1.0], False)), "token id 97, expected a whole number from 0 to 96"),
        (with_last(Drawn([-1], [-1.0], False)), "token id -1, expected"),
        (with_last(Drawn([8.0], [-1.0], False)), "token id 8.0, expected"),
        (with_last(Drawn([8, 1], [-1.0], True)), "found 1 log-probabilities for 2 tokens"),
        (with_last(Drawn([8, 1], [-1.0, math.nan], True)), "log-probability nan of token 1, expected a fin"),
        (with_last(Drawn([8, 1], [-math.inf, -1.0], True)), "log-probability -inf of token 0"),
    ],
)
def test_wrong_samples_are_refused_by_prompt_and_sample(answer, words):
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        drawn(answer)
    assert caught.value.where == "sampler 'odd' of plugin 'strange'"


def test_a_sampler_that_fails_is_named_with_its_line():
    def fail():
        return {}["gone"]

    with pytest.raises(UserError, match=r"2 prompts: KeyError: 'gone' \(test_checking.py:\d+\)") as caught:
        drawn(fail)
    assert isinstance(caught.value.__cause__, KeyError)


def test_the_samplers_own_mistake_passes_through():
    def refuse():
        raise UserError("no room")

    with pytest.raises(UserError, match=r"^no room$"):
        drawn(refuse)


def test_a_full_memory_is_not_the_plugins_mistake():
    def fail():
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(UserError, match="Lower batch_size"):
        drawn(fail)
