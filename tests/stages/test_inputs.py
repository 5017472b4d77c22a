"""The code that a stage's result depends on: which plugin files decide whether it is done again."""

from pathlib import Path

import pytest

from alignkit.recipe import parse_recipe
from alignkit.registry import Registry
from alignkit.stages.inputs import stage_inputs
from alignkit.stages.plan import make_plan

SAMPLER = """
from alignkit import Sampler, hookimpl

class Fixed(Sampler):
    name = "fixed"

@hookimpl
def register_samplers(register): register(Fixed)
"""
FORMAT = """
from alignkit import Example, hookimpl

@hookimpl
def register_formats(register): register("mine", lambda row: "q" in row, lambda row: Example(row["q"]))
"""
RECIPE = {
    "name": "code",
    "data": {
        "mine": {"path": "some/data", "format": "mine"},
        "plain": {"path": "some/data", "format": "preference"},
        "auto": "some/data",
    },
    "training": {"sampling": {"max_tokens": 8}},
    "stages": {
        "fitted": {"train": "sft", "on": "plain"},
        "recognized": {"train": "sft", "on": "auto", "start": "fitted"},
        "named": {"train": "sft", "on": "mine"},
        "checked": {"train": "sft", "on": "plain", "held_out": {"path": "some/data", "format": "mine"}},
        "judge": {"train": "bradley-terry", "on": "plain"},
        "online": {"train": "raft", "on": "plain", "reward": "length", "sampling": {"sampler": "fixed"}},
        "engine": {"train": "raft", "on": "plain", "reward": "length", "start": "fitted"},
        "drawn": {"sample": "base", "on": "plain", "sampler": "fixed"},
        "ranked": {"label": "drawn", "by": "length"},
        "table": {"evaluate": ["fitted"], "on": "plain", "sampler": "fixed"},
        "accuracy": {"evaluate": ["judge"], "on": "plain", "sampler": "fixed"},
    },
}


def code(folder: Path, **files: str) -> dict[str, str]:
    """Each stage's fingerprint, were all that it reads the same."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    registry = Registry([folder / f"{name}.py" for name in files])
    plan = make_plan(parse_recipe(RECIPE), registry, folder)
    unchanged = dict.fromkeys(plan.stages, "the same")
    return {
        name: stage_inputs(stage, plan, registry, "base", unchanged).fingerprint
        for name, stage in plan.stages.items()
    }


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ({"sampler": SAMPLER + "# changed"}, {"online", "drawn", "table"}),
        # What a sample stage wrote is read as any data whose format is not named.
        ({"format": FORMAT + "# changed"}, {"recognized", "named", "checked", "ranked"}),
        ({"other": FORMAT.replace('"mine"', '"other"')}, {"recognized", "ranked"}),
    ],
)
def test_a_changed_plugin_does_again_the_stages_that_use_it(tmp_path, changed, again):
    before = code(tmp_path, sampler=SAMPLER, format=FORMAT)
    after = code(tmp_path, **{"sampler": SAMPLER, "format": FORMAT, **changed})
    assert {name for name in before if before[name] != after[name]} == again


def inputs_of(folder, of_recipe, **settings):
    drawn = {"sample": "base", "on": "data", **settings}
    raw = {
        "name": "seeds",
        "seed": of_recipe,
        "data": {"data": "some/data"},
        "stages": {"one": drawn, "two": drawn},
    }
    registry = Registry()
    plan = make_plan(parse_recipe(raw), registry, folder)
    done = dict.fromkeys(["one", "two"], "the same")
    return [stage_inputs(stage, plan, registry, "base", done) for stage in plan.stages.values()]


def test_a_stages_seed_is_its_own_or_the_recipes_and_its_name_does_not_count(tmp_path):
    one, two = inputs_of(tmp_path, 3)
    assert one.seed == 3
    assert one.fingerprint == two.fingerprint
    other, _ = inputs_of(tmp_path, 3, seed=4)
    assert other.seed == 4
    assert other.fingerprint != one.fingerprint
    same, _ = inputs_of(tmp_path, 5, seed=3)
    assert same.fingerprint == one.fingerprint, "where the seed is written makes no difference"
