"""Sections of a recipe."""

import pytest
from pydantic import Field, ValidationError

from alignkit.recipe.section import Section


class Own(Section):
    size: float = Field(default=1.0, description="how large")


@pytest.mark.parametrize("raw", [{"sise": 1.0}, {"size": float("inf")}])
def test_unknown_keys_and_infinite_numbers_are_refused(raw):
    with pytest.raises(ValidationError):
        Own.model_validate(raw)


def test_a_section_does_not_change():
    with pytest.raises(ValidationError):
        Own().size = 2.0
