"""What a label stage plans."""

import pytest

from alignkit import UserError
from alignkit.recipe import parse_recipe
from alignkit.registry import Registry
from alignkit.stages.plan import make_plan


def plan(folder, **label):
    stages = {
        "judge": {"train": "bradley-terry", "on": "pairs"},
        "ranked": {"label": "pairs", "by": ["judge", "length"], **label},
    }
    recipe = parse_recipe({"name": "x", "data": {"pairs": "owner/pairs"}, "stages": stages})
    return make_plan(recipe, Registry(), folder).stages["ranked"]


def test_its_line_and_the_rewards_that_its_result_depends_on(tmp_path):
    found = plan(tmp_path, noise=0.5)
    assert found.line == "label pairs by judge + length with choice noise of temperature 0.5"
    assert [name for _, name in found.uses(Registry())] == ["length"]
    assert set(found.needs) == {"pairs", "judge"}


def test_completions_of_a_training_stage_cannot_be_ranked(tmp_path):
    with pytest.raises(UserError, match="'judge' is a train stage; a sample stage is needed here"):
        plan(tmp_path, label="judge")
