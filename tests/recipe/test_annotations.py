"""The types of fields, taken apart."""

from typing import Annotated, Optional, Union

from pydantic import BaseModel, Field

from alignkit.recipe.annotations import constraints, element_in, members, model_in


class Some(BaseModel):
    pass


def test_the_members_of_a_union_are_told_without_none():
    assert members(int | str | None) == [int, str]
    assert members(Union[int, None]) == [int]  # noqa: UP007
    assert members(Optional[Some]) == [Some]  # noqa: UP045
    assert members(int) == [int]
    assert members(Annotated[int | str, "told"]) == [int, str]


def test_bounds_of_a_unions_members_are_found():
    positive = Annotated[float, Field(gt=0)]
    assert members(positive | dict[str, positive]) == [float, dict[str, positive]]
    assert [limit.gt for limit in constraints(positive | dict[str, positive])] == [0]
    assert constraints(positive) == []


def test_a_model_is_found_with_or_without_none():
    assert model_in(Some) is Some
    assert model_in(Annotated[Some | None, "told"]) is Some
    assert model_in(Some | str) is None
    assert model_in(list[Some]) is None
    assert model_in(None) is None


def test_the_element_of_a_list_or_a_mapping_is_found():
    assert element_in(list[int]) is int
    assert element_in(tuple[Some, ...]) is Some
    assert element_in(dict[str, Some]) is Some
    assert element_in(dict[str, int] | None) is int
    assert element_in(int) is None
    assert element_in(list) is None
    assert element_in(list[int] | int) is None
