"""Fixtures of all tests."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import random
import sys
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest


@pytest.fixture
def rng() -> random.Random:
    return random.Random(0)


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A tiny model with a word tokenizer, as a local folder."""
    from tiny_runs import make_base

    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def alignkit(monkeypatch, capsys):
    """Calls the command line in this process: (stdout, stderr), after checking the exit code."""

    from alignkit.cli import main

    def call(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["alignkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert (end.value.code or 0) == code, out + err
        assert "Traceback" not in err
        return out, err

    return call


@pytest.fixture(scope="session")
def edited():
    """A copy of a recipe's plain values with other values at some key paths; None takes a key out."""

    def edited(recipe, edits):
        recipe = deepcopy(recipe)
        for path, value in edits.items():
            *parents, last = path.split(".")
            place = reduce(getitem, parents, recipe)
            if value is None:
                del place[last]
            else:
                place[last] = value
        return recipe

    return edited
