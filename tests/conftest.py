"""Fixtures of all tests."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import random
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
