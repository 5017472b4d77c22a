"""The plugin that `alignkit new-plugin` writes."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import write_recipe

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["my-method", "a", "-".join(["longest"] * 5)])
def test_the_written_plugin_and_test_pass_lint_and_are_formatted(alignkit, tmp_path, name):
    alignkit("new-plugin", name, "--to", tmp_path / "new")
    sources = f"src = [{str(ROOT / 'core')!r}, {str(tmp_path / 'new')!r}]"  # as for a plugin of this project
    config = ["--config", str(ROOT / "pyproject.toml"), "--config", sources, str(tmp_path / "new")]
    for check in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, *config], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_printed_commands_work(alignkit, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, _ = alignkit("new-plugin", "my_method")
    assert (tmp_path / "alignkit_my_method.py").is_file()
    assert '[project.entry-points.alignkit]\nmy-method = "alignkit_my_method"' in out
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", re.search(r"pytest (\S+)", out)[1]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout

    path = str(write_recipe(tmp_path, base, "  one: {train: sft, on: pairs, steps: 2}"))
    typed = [shlex.split(line)[4:] for line in out.splitlines() if " alignkit " in line]
    assert [words[0] for words in typed] == ["check", "run"]
    for words in typed:
        assert (
            "train my-method"
            in alignkit(*(word.replace("RECIPE", path).replace("STAGE", "one") for word in words))[0]
        )
    settings = json.loads((tmp_path / "runs" / "tiny" / "one" / "manifest.json").read_text())["inputs"][
        "terms"
    ][0]
    assert settings["options"]["beta"] == 0.2
    assert (tmp_path / "runs" / "tiny" / "one" / "adapter" / "adapter_model.safetensors").is_file()


def test_nothing_is_overwritten(alignkit, tmp_path):
    (tmp_path / "test_alignkit_mine.py").write_text("kept")
    assert "nothing is overwritten" in alignkit("new-plugin", "mine", "--to", tmp_path, code=2)[1]
    assert [path.name for path in tmp_path.iterdir()] == ["test_alignkit_mine.py"]
    assert (tmp_path / "test_alignkit_mine.py").read_text() == "kept"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My", "cannot be a plugin's name"),
        ("1st", "cannot be a plugin's name"),
        ("a--b", "cannot be a plugin's name"),
        ("../up", "cannot be a plugin's name"),
        ("x" * 41, "cannot be a plugin's name"),
        ("loss", "its class would be called Loss"),
        ("none", "its class would be called None"),
        ("dpo", "is registered already, by alignkit"),
    ],
)
def test_a_name_that_cannot_be_is_refused(alignkit, tmp_path, name, words):
    assert words in alignkit("new-plugin", name, "--to", tmp_path, code=2)[1]
    assert not list(tmp_path.iterdir())


def test_new_plugin_imports_no_torch(tmp_path):
    script = (
        f"import sys\nsys.argv = ['alignkit', 'new-plugin', 'mine', '--to', {str(tmp_path)!r}]\nfrom "
        "alignkit.cli import app\n"
        "app(standalone_mode=False)\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
