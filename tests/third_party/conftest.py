"""Strangers' distributions: built as wheels, installed in a folder of their own, and run with the others.

Each folder here is a distribution as its author would publish it: `pyproject.toml`, one module, and a recipe
of a few steps. They use nothing but `import alignkit`.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

HERE = Path(__file__).parent
STRANGERS = sorted(file.parent for file in HERE.glob("*/pyproject.toml"))


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The folder into which all strangers are installed, without touching the environment."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder)]
    command = [sys.executable, "-m", "pip", "install", *options, *map(str, STRANGERS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def installed(site, monkeypatch) -> Path:
    """The strangers are importable and registered while the test runs, and forgotten after it."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(site) in str(sys.modules[name].__file__):
            del sys.modules[name]


@dataclass(frozen=True)
class Run:
    """A finished run of all strangers' stages."""

    folder: Path
    output: str

    def metrics(self, stage: str) -> list[dict[str, float]]:
        """The numbers of each optimizer step of a stage."""
        lines = (self.folder / stage / "metrics.jsonl").read_text().strip().split("\n")
        return [json.loads(line) for line in lines]

    def rollouts(self, stage: str, number: int = 0) -> tuple[list[dict], dict]:
        """The samples of a batch, one mapping for each prompt that was drawn, and their scores."""
        (folder,) = (self.folder / stage / "rollouts").iterdir()
        lines = (folder / f"{number:06d}.jsonl").read_text(encoding="utf-8").strip().split("\n")
        return [json.loads(line) for line in lines], json.loads(
            (folder / f"{number:06d}.scores.json").read_text(encoding="utf-8")
        )

    def manifest(self, stage: str) -> dict:
        return json.loads((self.folder / stage / "manifest.json").read_text())


@pytest.fixture(scope="session")
def run(site, tmp_path_factory) -> Run:
    """All strangers' recipes as one run over the bundled model, so that the base is loaded once."""
    folder = tmp_path_factory.mktemp("run")
    yaml = YAML(typ="safe", pure=True)
    whole = {"name": "strangers", "data": {}, "stages": {}}
    whole |= yaml.load((HERE / "shared.yaml").read_text())
    for stranger in STRANGERS:
        own = yaml.load((stranger / "recipe.yaml").read_text())
        for part in ("data", "stages"):
            taken = whole[part].keys() & own.get(part, {}).keys()
            assert not taken, f"{stranger.name} names {taken} again"
            whole[part] |= own.get(part, {})
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps(whole))  # JSON is YAML
    for file in HERE.glob("*.jsonl"):
        (folder / file.name).write_text(file.read_text())
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(site), "CUDA_VISIBLE_DEVICES": ""}
    code = "from alignkit.cli import main; main()"
    command = [sys.executable, "-c", code, "run", str(recipe), "--out", str(folder / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(folder / "runs" / "strangers", done.stdout + done.stderr)
