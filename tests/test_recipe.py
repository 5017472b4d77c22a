"""Recipes: what is read, what is refused, and with which words."""

from pathlib import Path

import pytest

from alignkit.errors import UserError
from alignkit.recipe import Train, load_recipe

GOOD = """
name: demo
model: {base: smollm2-135m}
data:
  comparisons: {path: pairs.jsonl}
training: {learning_rate: 1e-5, batch_size: 4}
stages:
  dpo: {train: {dpo: {beta: 0.2}}, on: comparisons, start: sft}
  sft: {train: sft, on: comparisons, steps: 3}
"""


def load(tmp_path: Path, text: str, *overrides: str):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    return load_recipe(file, list(overrides))


def test_stages_come_in_the_order_of_their_needs_with_shared_settings(tmp_path):
    recipe = load(tmp_path, GOOD)
    assert list(recipe.stages) == ["sft", "dpo"]
    dpo = recipe.stages["dpo"]
    assert isinstance(dpo, Train)
    assert dpo.learning_rate == 1e-5
    assert dpo.train[0].options == {"beta": 0.2}
    assert recipe.stages["sft"].steps == 3
    assert dpo.steps is None


def test_mixtures_have_a_weight_and_data_of_their_own(tmp_path):
    text = GOOD.replace("{dpo: {beta: 0.2}}", "{dpo: {beta: 0.2}, sft: {weight: 0.1, on: comparisons}}")
    terms = load(tmp_path, text).stages["dpo"].train
    assert [(t.objective, t.weight, t.on) for t in terms] == [("dpo", 1.0, None), ("sft", 0.1, "comparisons")]


def test_the_command_line_overrides_values(tmp_path):
    recipe = load(
        tmp_path, GOOD, "data.comparisons.path=other.jsonl", "training.steps=7", "stages.dpo.train.dpo.beta=0.5", "stages.dpo.held_out=0.1"
    )
    assert recipe.data["comparisons"].path == "other.jsonl"
    assert recipe.stages["dpo"].steps == 7
    assert recipe.stages["sft"].steps == 3, "a stage's own setting wins"
    assert recipe.stages["dpo"].train[0].options == {"beta": 0.5}
    assert recipe.stages["dpo"].held_out == 0.1


def test_an_override_reaches_into_short_forms(tmp_path):
    text = GOOD.replace("comparisons: {path: pairs.jsonl}", "comparisons: pairs.jsonl")
    recipe = load(tmp_path, text, "stages.sft.train.sft.weight=0.5", "data.comparisons.limit=3")
    assert recipe.stages["sft"].train[0].weight == 0.5
    assert recipe.data["comparisons"].model_dump(include={"path", "limit"}) == {"path": "pairs.jsonl", "limit": 3}


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (("learning_rate: 1e-5", "learning_rat: 1e-5"), "training.learning_rat", "Did you mean 'learning_rate'"),
        (("steps: 3", "stepz: 3"), "stages.sft.stepz", "Did you mean 'steps'"),
        (("{base: smollm2-135m}", "{bas: smollm2-135m}"), "model.bas", "Did you mean 'base'"),
        (("{base: smollm2-135m}", "{lora: {rank: 4}}"), "model.lora.rank", "Known: alpha, dropout, r, target"),
        (("path: pairs.jsonl", "pth: pairs.jsonl"), "data.comparisons.pth", "Did you mean 'path'"),
        (("batch_size: 4", "batch_size: four"), "training.batch_size", "found 'four'"),
        (("batch_size: 4", "batch_size: 0"), "training.batch_size", "greater than or equal to 1, found 0"),
        (("on: comparisons, steps", "on: comparison, steps"), "stages.sft", "Did you mean 'comparisons'"),
        (("on: comparisons, steps: 3", "on: comparisons, start: dpo"), "stages", "wait for each other"),
        (("  sft: {train", "  ../sft: {train"), "stages.../sft", "no valid name"),
        (("  sft: {train: sft", "  sft: {trian: sft"), "stages.sft", "exactly one of the verbs"),
        (("stages:", "stagez:"), "stagez", "Did you mean 'stages'"),
        (("name: demo", "name: demo\nname: again"), "recipe.yaml:3", "duplicate key"),
        (("name: demo", "name: !!python/object:os.system x"), "recipe.yaml:2", "could not determine a constructor"),
        (("name: demo", "name: [demo"), "recipe.yaml", ""),
        (("train: sft, ", "train: [sft], "), "stages.sft", "train takes an objective's name"),
    ],
)
def test_a_mistake_names_its_place_and_the_mend(tmp_path, change, where, words):
    assert change[0] in GOOD
    with pytest.raises(UserError) as caught:
        load(tmp_path, GOOD.replace(*change, 1))
    assert where in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("override", ["training.steps", "=3", "name.x=3", "training.steps=[1"])
def test_a_bad_override_is_refused(tmp_path, override):
    with pytest.raises(UserError):
        load(tmp_path, GOOD, override)
