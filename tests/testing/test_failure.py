"""A failure names the objective's class and keeps its cause."""

import pytest
from made_objectives import Sound

from alignkit.testing.failure import fail


def test_a_failure_names_the_class_and_keeps_the_cause():
    cause = ValueError("why")
    with pytest.raises(AssertionError, match=r"^Sound: it is wrong$") as raised:
        fail(Sound(), "it is wrong", cause)

    assert raised.value.__cause__ is cause
