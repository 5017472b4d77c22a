"""What a sample stage plans."""

import pytest

from alignkit import UserError
from alignkit.recipe import parse_recipe
from alignkit.registry import Registry
from alignkit.stages.plan import make_plan


def plan(folder, **sample):
    stages = {
        "judge": {"train": "bradley-terry", "on": "pairs"},
        "drawn": {"on": "pairs", "sample": "base", **sample},
    }
    recipe = parse_recipe({"name": "x", "data": {"pairs": "owner/pairs"}, "stages": stages})
    return make_plan(recipe, Registry(), folder).stages["drawn"]


def test_its_line_and_the_sampler_that_its_result_depends_on(tmp_path):
    found = plan(tmp_path, per_prompt=2)
    assert found.line == "sample 2 completions per prompt of pairs from base, at most 128 tokens each"
    assert [name for _, name in found.uses(Registry())] == ["engine"]


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ({"sample": "judge"}, "'judge' is a reward model"),
        ({"max_tokens": 64, "max_length": 64}, "leaves no room for a prompt within max_length 64"),
        ({"sampler": "engin"}, "Did you mean 'engine'"),
    ],
)
def test_what_cannot_be_sampled_is_refused(tmp_path, sample, words):
    with pytest.raises(UserError, match=words):
        plan(tmp_path, **sample)
