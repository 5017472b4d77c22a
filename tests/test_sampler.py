"""What a sampler's author subclasses."""

from types import SimpleNamespace

import pytest

from alignkit import Sampler, Sampling


class Odd(Sampler):
    name = "odd"


def test_the_tokens_that_end_a_completion_are_the_bases():
    assert Odd(SimpleNamespace(base=SimpleNamespace(ends={1, 7}))).ends == {1, 7}


def test_a_sampler_can_be_used_unless_it_says_why_not():
    assert Odd.missing() is None


def test_a_sampler_without_sample_says_so():
    with pytest.raises(NotImplementedError, match="Odd defines no `sample`"):
        Odd(None).sample("policy", [], Sampling())
