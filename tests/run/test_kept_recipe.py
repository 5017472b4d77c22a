"""The recipe that a run keeps."""

import json

import pytest

from alignkit.run.folder import RunFolder
from alignkit.run.kept_recipe import KeptRecipe, keep_recipe, read_kept_recipe, read_source


@pytest.mark.parametrize("overrides", [[], ["seed=1", "training.steps=2"]])
def test_it_is_read_back_as_it_was_kept(tmp_path, overrides):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine  # “written” by hand\n", encoding="utf-8")
    kept = KeptRecipe(("b", "a"), {"name": "mine", "seed": 1}, read_source(file, overrides))
    keep_recipe(RunFolder(tmp_path), kept)
    assert read_kept_recipe(RunFolder(tmp_path)) == kept


def test_a_recipe_that_was_no_file_has_no_source(tmp_path):
    keep_recipe(RunFolder(tmp_path), KeptRecipe(("a",)))
    assert read_kept_recipe(RunFolder(tmp_path)) == KeptRecipe(("a",))


@pytest.mark.parametrize("text", [None, "{", json.dumps({"stages": ["a"]}), "[]"])
def test_what_cannot_be_read_is_no_recipe(tmp_path, text):
    if text is not None:
        (tmp_path / "recipe.json").write_text(text)
    assert read_kept_recipe(RunFolder(tmp_path)) is None
