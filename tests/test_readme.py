"""What the READMEs say of recipes: every key exists, and every recipe in them is valid."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from alignkit import hookspecs
from alignkit.errors import UserError
from alignkit.recipe import Recipe, parse_recipe
from alignkit.recipe.keys import find_keys
from alignkit.registry import Registry
from alignkit.stages.plan import make_plan

ROOT = Path(__file__).resolve().parents[1]
READMES = ["README.md", "recipes/README.md", "plugins/README.md"]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATH = r"[a-z_]+(?:\.[\w<>-]+)+"
OVERRIDE = re.compile(rf"(?<![\w./-])({PATH})=")
EXPLAINED = re.compile(rf"alignkit explain ({PATH})")
QUOTED = re.compile(rf"`({PATH})(?=[`=:])")
FILES = re.compile(r".*\.(?:py|json|jsonl|yaml|md|html|csv|toml)")


def keys_in(text):
    """The key paths in a text, without its blocks of code."""
    text = FENCED.sub("", text)
    quoted = {path for path in QUOTED.findall(text) if path.split(".")[0] in Recipe.model_fields}
    return {
        path
        for path in {*OVERRIDE.findall(text), *EXPLAINED.findall(text), *quoted}
        if not FILES.fullmatch(path)
    }


def recipes_in(text):
    """The recipes in a text; a block of stages alone is one too."""
    for language, block in FENCED.findall(text):
        if language == "yaml":
            raw = YAML(typ="safe", pure=True).load(block)
            yield {"name": "readme", **(raw if "stages" in raw else {"stages": raw})}


@pytest.fixture(scope="module")
def registry():
    return Registry()


@pytest.mark.parametrize("readme", READMES)
def test_every_key_in_a_readme_exists(readme, registry):
    for path in sorted(keys_in((ROOT / readme).read_text(encoding="utf-8"))):
        assert find_keys(path, registry)


@pytest.mark.parametrize("readme", READMES)
def test_every_recipe_in_a_readme_is_valid(readme, registry):
    for raw in recipes_in((ROOT / readme).read_text(encoding="utf-8")):
        assert make_plan(parse_recipe(raw), registry, ROOT / "recipes").lines()


def plugins_in(text):
    """The whole plugins in a text."""
    return [
        block for language, block in FENCED.findall(text) if language == "python" and "@hookimpl" in block
    ]


def test_every_plugin_in_the_readme_registers_what_it_says(tmp_path):
    found = plugins_in((ROOT / "plugins" / "README.md").read_text(encoding="utf-8"))
    hooks = {name for name in vars(hookspecs) if name.startswith("register_")}
    assert {hook for hook in hooks for block in found if f"def {hook}(" in block} == hooks
    for number, block in enumerate(found):
        file = tmp_path / f"readme_{number}.py"
        file.write_text(block, encoding="utf-8")
        registry = Registry([file])
        plugin = registry.plugins[-1]
        assert [shelf for shelf in registry.shelves if plugin in shelf.owners.values()]


def test_keys_and_recipes_are_found_in_a_text():
    text = (
        "`training.max_length` `data.json` `model.dtype: auto` `torch.nn` `stages.NAME.train.dpo.beta`\n"
        "    alignkit run x.yaml trainng.steps=5 'stages.dpo.train={dpo: {}}' --out=a.b\n"
        "`alignkit explain training.sampling.top_k`\n"
        "```python\nbatch.mask.sum(dim=-1)\nself.beta=1\n```\n"
        "```yaml\nsft: {train: sft, on: x}\n```\n"
    )
    assert keys_in(text) == {
        "training.max_length",
        "model.dtype",
        "stages.NAME.train.dpo.beta",
        "trainng.steps",
        "stages.dpo.train",
        "training.sampling.top_k",
    }
    assert list(recipes_in(text)) == [{"name": "readme", "stages": {"sft": {"train": "sft", "on": "x"}}}]


def test_a_setting_that_does_not_exist_is_found(registry):
    (path,) = keys_in("    alignkit run x.yaml trainng.steps=5\n")
    with pytest.raises(UserError, match="unknown key"):
        find_keys(path, registry)
