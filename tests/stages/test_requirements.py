"""What a stage asks of another."""

import pytest

from alignkit import UserError
from alignkit.recipe import Drawing, Train, parse_recipe
from alignkit.registry import Registry
from alignkit.stages.requirements import require_drawable, require_policy, require_stage

RECIPE = parse_recipe(
    {
        "name": "x",
        "data": {"pairs": "owner/pairs"},
        "stages": {
            "policy": {"train": "sft", "on": "pairs"},
            "judge": {"train": "bradley-terry", "on": "pairs"},
            "drawn": {"sample": "policy", "on": "pairs"},
        },
    }
)


@pytest.fixture(scope="module")
def registry():
    return Registry()


def test_the_base_and_a_policys_stage_write_completions(registry):
    require_policy(RECIPE, "base", registry, "here")
    require_policy(RECIPE, "policy", registry, "here")
    with pytest.raises(UserError, match="'judge' is a reward model; it scores completions and writes none"):
        require_policy(RECIPE, "judge", registry, "here")


@pytest.mark.parametrize(("name", "found"), [("drawn", "a sample stage"), ("pairs", "data")])
def test_another_kind_of_stage_is_told(name, found):
    with pytest.raises(UserError, match=f"'{name}' is {found}; a train stage is needed here") as caught:
        require_stage(RECIPE, name, Train, "here")
    assert caught.value.where == "here"


def test_a_completion_leaves_room_for_a_prompt(registry):
    require_drawable(Drawing(max_tokens=63), 64, registry, "here")
    with pytest.raises(UserError, match="leaves no room for a prompt within max_length 64"):
        require_drawable(Drawing(max_tokens=64), 64, registry, "here")
