"""What the READMEs say of recipes and of plugins: every key exists, every recipe in them is valid, every
plugin registers, and every objective that shows a declaration trains.
"""

import json
import re
from pathlib import Path

import pytest
from online_runs import BOTH, plugins, recipe_of
from ruamel.yaml import YAML
from tiny_runs import make_base, run

from alignkit import (
    Batch,
    Demonstrations,
    Labelled,
    Objective,
    OnlineObjective,
    Preferences,
    Prompts,
    Rollouts,
    Stepwise,
    hookspecs,
)
from alignkit.errors import UserError
from alignkit.recipe import Recipe, parse_recipe
from alignkit.recipe.keys import find_keys
from alignkit.registry import Registry
from alignkit.stages.plan import make_plan
from alignkit.testing import check_objective

ROOT = Path(__file__).resolve().parents[1]
READMES = ["README.md", "recipes/README.md", "plugins/README.md"]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATH = r"[a-z_]+(?:\.[\w<>-]+)+"
OVERRIDE = re.compile(rf"(?<![\w./-])({PATH})=")
EXPLAINED = re.compile(rf"alignkit explain ({PATH})")
QUOTED = re.compile(rf"`({PATH})(?=[`=:])")
LINKS = re.compile(r"\(#([\w-]+)\)")
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


def headings_in(text, level):
    """The headings of a level, without those in blocks of code."""
    return re.findall(rf"^{'#' * level} (.+)$", FENCED.sub("", text), re.MULTILINE)


def anchor(heading):
    """What a link to a heading ends with."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


DECLARED = "What else an objective may declare"
"""The heading whose examples are one plugin together."""


def section_in(text, heading):
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return section


def python_in(text):
    return [block for language, block in FENCED.findall(text) if language == "python"]


def plugins_in(text):
    """The whole plugins in a text, that of DECLARED last."""
    section = section_in(text, DECLARED)
    single = [block for block in python_in(text.replace(section, "")) if "@hookimpl" in block]
    return [*single, "\n\n".join(python_in(section))]


@pytest.fixture(scope="module")
def page():
    return (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def declared(page, tmp_path_factory):
    """The file of the plugin of declarations."""
    file = tmp_path_factory.mktemp("declared") / "declared.py"
    file.write_text(plugins_in(page)[-1], encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def registry(declared):
    return Registry([declared])


@pytest.fixture(scope="module")
def examples(registry):
    """The objectives of the plugin of declarations, by name."""
    shelf, plugin = registry.objectives, registry.plugins[-1]
    return {name: cls for name, cls in shelf.items.items() if shelf.owners[name] is plugin}


@pytest.mark.parametrize("readme", READMES)
def test_every_key_in_a_readme_exists(readme, registry):
    for path in sorted(keys_in((ROOT / readme).read_text(encoding="utf-8"))):
        assert find_keys(path, registry)


@pytest.mark.parametrize("readme", READMES)
def test_every_recipe_in_a_readme_is_valid(readme, registry):
    for raw in recipes_in((ROOT / readme).read_text(encoding="utf-8")):
        assert make_plan(parse_recipe(raw), registry, ROOT / "recipes").lines()


def test_every_plugin_in_the_readme_registers_what_it_says(tmp_path, page):
    found = plugins_in(page)
    hooks = {name for name in vars(hookspecs) if name.startswith("register_")}
    assert {hook for hook in hooks for block in found if f"def {hook}(" in block} == hooks
    for number, block in enumerate(found):
        file = tmp_path / f"readme_{number}.py"
        file.write_text(block, encoding="utf-8")
        registry = Registry([file])
        plugin = registry.plugins[-1]
        assert [shelf for shelf in registry.shelves if plugin in shelf.owners.values()]


SUITE = {"token-weighted": {"token_columns": {"importance"}}, "earned": {"columns": {"difficulty"}}}
"""What the suite has to be told of an example."""


def test_the_examples_of_declarations_conform(examples):
    assert len(examples) > 10
    for name in sorted(examples):
        check_objective(examples[name](), **SUITE.get(name, {}))


ROWS = {
    "told": {
        "prompt": "red cat",
        "completion": " runs well",
        "importance": [0.5, 1.0, 2.0],
        "hinted": "red red cat",
        "difficulty": 0.5,
    },
    "found": {"prompt": "red cat", "completion": " runs", "label": True},
    "solved": {"prompt": "red cat", "completions": [" runs well", "never eats"], "labels": [True, False]},
}
"""A row of each kind of data, besides the pairs."""
DATA = {
    Demonstrations: "told",
    Prompts: "told",
    Preferences: "pairs",
    Labelled: "found",
    Stepwise: "solved",
}


def rows_like(row, count=8):
    """The row with other prompts, and with other labels where it has one."""
    for number, word in zip(range(count), ["now", "blue", "dog", "today"] * count, strict=False):
        label = {"label": number % 2 == 0} if "label" in row else {}
        yield {**row, "prompt": f"{word} {row['prompt']}", **label}


def stage_of(name, cls):
    """A stage of two steps for an example, as YAML."""
    stage = {"train": name, "on": DATA[cls.data], "start": "sft", "steps": 2}
    if issubclass(cls, OnlineObjective):
        stage |= {"reward": {"letters": {}, "spaces": {"weight": 0.5}}}
    if "teacher" in cls.roles:
        stage |= {"roles": {"teacher": {"start": "sft", "prompt": "hinted"}}}
    return {key: value for key, value in stage.items() if "reward" not in cls.trains or key != "start"}


def test_the_examples_of_declarations_train(examples, declared, tmp_path):
    base = make_base(tmp_path / "base")
    for name, row in ROWS.items():
        (base / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows_like(row)))
    stages = {"sft": {"train": "sft", "on": "pairs", "steps": 1}}
    stages |= {name: stage_of(name, cls) for name, cls in examples.items()}
    recipe = recipe_of(tmp_path, base, json.dumps(stages))
    raw = json.loads(recipe.read_text())
    raw["data"] |= {name: {"path": str(base / f"{name}.jsonl")} for name in ROWS}
    del raw["training"]["held_out"], raw["training"]["evaluate_every"]
    recipe.write_text(json.dumps(raw))
    run(recipe, tmp_path, "--plugin", str(declared), *plugins(tmp_path, **BOTH))
    for name in examples:
        lines = (tmp_path / "tiny" / name / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 2


def test_the_contents_list_every_section(page):
    contents = page[page.index("Contents:\n") : page.index("## An objective\n")]
    links = LINKS.findall(contents)
    found = list(map(anchor, headings_in(page, 2)))
    assert [link for link in links if link in found] == found
    assert set(links) - set(found) == set(map(anchor, headings_in(section_in(page, DECLARED), 3)))


def test_every_link_within_a_readme_leads_to_a_heading(page):
    known = {anchor(heading) for level in (2, 3) for heading in headings_in(page, level)}
    assert set(LINKS.findall(page)) <= known


def test_everything_that_a_method_may_declare_or_read_is_described(page):
    internal = {"columns", "signals", "sources", "absent"}
    for cls in (Objective, OnlineObjective, Batch, Rollouts):
        for name in {*vars(cls), *cls.__annotations__} - internal:
            assert name.startswith(("_", "model_")) or re.search(rf"\b{name}\b", page), name


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
