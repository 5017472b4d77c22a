"""The ways in which an adapter may begin."""

import pytest

from alignkit.recipe.initializations import factorizes, known, moves, subtracts


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        (True, ""),
        (False, "moves"),
        ("gaussian", ""),
        ("orthogonal", "moves"),
        ("pissa", "subtracts factorizes"),
        ("pissa_niter_16", "subtracts factorizes"),
        ("olora", "subtracts factorizes"),
        ("mica", "factorizes"),
        ("loftq", "moves factorizes"),
    ],
)
def test_each_is_known_for_what_it_does(value, kinds):
    assert known(value) == value
    found = [kind.__name__ for kind in (moves, subtracts, factorizes) if kind(value)]
    assert found == kinds.split()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("pisa", "Did you mean 'pissa'"),
        ("pissa_niter_", "Did you mean 'pissa'"),
        ("eva", "eva needs the activations of the base over data"),
        ("corda", "corda needs the activations of the base over data"),
        ("lora_ga", "lora_ga needs the gradients of the base over data"),
    ],
)
def test_others_are_refused_with_the_reason(value, words):
    with pytest.raises(ValueError, match=words):
        known(value)
