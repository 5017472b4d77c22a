"""What the design promises of the code itself: core knows no method, hooks are documented, the command line
is light.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from imports import cycle, imports, modules
from tiny_models import tiny_roles

import alignkit_dpo
from alignkit import hookspecs
from alignkit.errors import UserError
from alignkit.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "core").rglob("*.py"))
HOOKS = [name for name in vars(hookspecs) if name.startswith("register_")]


ORDER = """
    cli commands
    report chat pipeline display testing
    stages
    training
    rewards
    sampling
    evaluation
    models
    data
    run
    recipe registry registrable
    hookspecs
    objective batch rollouts signals reward sampler measure observer optimizer example answers progress
    api state
    errors
"""
"""The layout: a module uses modules of its own line and of the lines below it."""
WITHOUT_TESTS = {
    "commands.export": "tests/test_pipeline.py exports what it trained",
    "commands.planning": "tests/commands/test_check.py",
    "commands.report": "tests/report/test_page.py",
    "display.bars": "tests/display/test_terminal.py",
    "hookspecs": "every hook is checked below",
    "progress": "a protocol and its callers: tests/display/test_terminal.py",
    "registrable": "tests/test_registry.py",
    "rewards.command": "tests/commands/test_sample.py",
    "stages.context": "tests/stages/train/test_online.py",
    "stages.evaluate.policies": "whole runs in tests/test_pipeline_online.py",
    "stages.evaluate.reward_models": "whole runs in tests/test_pipeline_online.py",
    "stages.evaluate.served": "whole runs in tests/evaluation/test_served.py",
    "stages.planned": "the verbs' plans: tests/stages/train/test_plan.py and its neighbours",
    "stages.sample.work": "whole runs in tests/test_pipeline_online.py",
    "stages.train.demands": "tests/stages/train/test_plan.py",
    "stages.train.roles": "tests/stages/train/test_online.py",
    "stages.train.sources": "whole runs in tests/test_pipeline_online.py",
    "stages.train.work": "whole runs in tests/test_pipeline.py",
    "training.terms": "tests/training/test_trainer.py",
    "stages.working": "whole runs in tests/test_pipeline_online.py",
}
"""Modules without a test file of their own, and where they are tested."""


def test_no_modules_import_each_other():
    """In a circle, however long: imports within functions and for types count too."""
    assert not cycle(imports())


def test_imports_point_down_the_layout():
    level = {room: number for number, line in enumerate(ORDER.split("\n")) for room in line.split()}
    rooms = {name: name.split(".")[1] for name in modules() if name != "alignkit"}
    assert set(rooms.values()) == set(level)
    upwards = [
        f"{name} imports {other}"
        for name, others in imports().items()
        for other in others
        if name != "alignkit" and (other == "alignkit" or level[rooms[other]] < level[rooms[name]])
    ]
    # `new-plugin` knows the public API, and its template, which is a plugin, uses it.
    assert upwards == [f"alignkit.commands.{name} imports alignkit" for name in ("new_method", "new_plugin")]


def test_every_module_has_its_test_file():
    """`core/alignkit/a/b.py` is tested by `tests/a/test_b.py`, or `WITHOUT_TESTS` says why not."""
    missing = set()
    for name, path in modules().items():
        *folders, last = name.split(".")[1:] or [""]
        if path.name != "__init__.py" and not (ROOT / "tests" / Path(*folders) / f"test_{last}.py").is_file():
            missing.add(name)
    assert missing == {f"alignkit.{name}" for name in WITHOUT_TESTS}


def test_core_names_no_objective():
    named = re.compile(r"\b(dpo|ppo|raft|reinforce|bradley|unlikelihood)\b", re.IGNORECASE)
    assert not [
        f"{path.name}: {line}"
        for path in CORE
        for line in path.read_text().splitlines()
        if named.search(line)
    ]


def test_core_imports_no_plugin():
    for path in CORE:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith("alignkit_")], path


def test_plugins_use_the_public_api_alone():
    for path in (ROOT / "plugins").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("alignkit."), path


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_an_example_and_used_by_a_plugin(hook):
    text = getattr(hookspecs, hook).__doc__ or ""
    assert "@hookimpl" in text
    assert f"def {hook}" in text
    assert [path for path in (ROOT / "plugins").glob("*.py") if f"def {hook}(" in path.read_text()]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["plugins"],
        ["plugins", "--json"],
        ["objectives"],
        ["objectives", "dpo"],
        ["check", "recipes/demo.yaml"],
        ["explain"],
        ["explain", "training.max_length"],
        ["schema"],
    ],
)
def test_light_commands_import_no_torch(arguments):
    script = (
        f"import sys\nsys.argv = ['alignkit', *{arguments!r}]\nfrom alignkit.cli import app\n"
        "app(standalone_mode=False)\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_two_plugins_that_register_one_name_are_both_named(tmp_path):
    copy = tmp_path / "copied.py"
    copy.write_text(Path(alignkit_dpo.__file__).read_text())
    with pytest.raises(UserError, match=r"objective 'dpo': alignkit .* and .*copied.py"):
        Registry([copy])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("from alignkit import *\nclass A(Objective):\n    data = Preferences", "has no name"),
        ("from alignkit import *\nclass A(Objective):\n    name = 'a'", "declares no data"),
        (
            "from alignkit import *\nclass A(Objective):\n    name = 'a'\n    data = Preferences\n    reads "
            "= {'referense'}",
            "Did you mean 'reference'",
        ),
    ],
)
def test_a_plugin_that_cannot_work_is_refused_with_the_reason(tmp_path, source, words):
    file = tmp_path / "broken.py"
    file.write_text(
        f"{source}\n\nfrom alignkit import hookimpl\n\n@hookimpl\ndef "
        "register_objectives(register):\n    register(A)\n"
    )
    with pytest.raises(UserError, match=words):
        Registry([file])


def test_every_recipe_is_valid(monkeypatch):
    monkeypatch.chdir(ROOT)
    from alignkit.recipe import load_recipe
    from alignkit.stages.plan import make_plan

    registry = Registry()
    recipes = sorted((ROOT / "recipes").glob("*.yaml"))
    assert len(recipes) >= 5
    for path in recipes:
        assert make_plan(load_recipe(path), registry, path.parent).lines()


def test_roles_of_a_tiny_model_share_one_base():
    roles = tiny_roles()
    base = {id(parameter) for parameter in roles.base.model.parameters()}
    for name in ("policy", "reward", "value"):
        roles.add(name, trainable=True)
    shared = {id(parameter) for name, parameter in roles.model.named_parameters() if "lora_" not in name}
    assert shared == base
