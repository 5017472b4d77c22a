"""Which stages of a pipeline are done again after a change of a plugin or of a setting."""

from pathlib import Path

import pytest
from online_runs import ALL, BOTH, STAGES, plugins, recipe_of

from alignkit.models.fingerprint import base_fingerprint
from alignkit.recipe import load_recipe
from alignkit.registry import Registry
from alignkit.stages.inputs import stage_inputs
from alignkit.stages.plan import make_plan


def fingerprints(recipe: Path, files: list[str], *overrides: str) -> dict[str, str]:
    registry = Registry([Path(file) for file in files if file != "--plugin"])
    plan = make_plan(load_recipe(recipe, overrides), registry, recipe.parent)
    base, found = base_fingerprint(plan.recipe.model, registry), {}
    for name, stage in plan.stages.items():
        found[name] = stage_inputs(stage, plan, registry, base, found).fingerprint
    return found


# `letters` is watched by ppo, in the reward of reinforce, and chooses and judges in the comparison.
@pytest.mark.parametrize(
    ("plugin", "again"), [("letters", {"ppo", "reinforce", "compared"}), ("spaces", {"ranked", "tuned"})]
)
def test_a_changed_plugin_decides_which_stages_are_done_again(base, tmp_path, plugin, again):
    recipe = recipe_of(tmp_path, base, ALL)
    before = fingerprints(recipe, plugins(tmp_path, **BOTH))
    after = fingerprints(recipe, plugins(tmp_path, **{**BOTH, plugin: BOTH[plugin] + "# changed\n"}))
    assert {name for name in after if after[name] != before[name]} == again


@pytest.mark.parametrize(
    ("override", "again"),
    [
        ("stages.ppo.watch=[letters, spaces]", {"ppo", "compared"}),
        ("stages.reinforce.reward.letters.weight=0.2", {"reinforce", "compared"}),
        ("stages.reinforce.reward.judge.standardize=false", {"reinforce", "compared"}),
        ("stages.compared.evaluate=[base, {policy: {best_of: 4, by: [judge, letters]}}, ppo]", {"compared"}),
        ("stages.judge.steps=4", set(STAGES)),
        ("stages.rounds.repeat=3", {"policy-3", "drawn", "ranked", "tuned", "compared"}),
        ("data.shorter.skip=31", {"compared"}),
        ("training.save_every=4", set()),
    ],
)
def test_a_changed_setting_decides_which_stages_are_done_again(base, tmp_path, override, again):
    recipe, files = recipe_of(tmp_path, base, ALL), plugins(tmp_path, **BOTH)
    before, after = fingerprints(recipe, files), fingerprints(recipe, files, override)
    assert {name for name in after if after[name] != before.get(name)} == again
