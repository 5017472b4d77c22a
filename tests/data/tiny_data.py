"""Small data sets: loads rows as a recipe's data, with a tokenizer of bytes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tiny_tokenizers import byte_tokenizer

from alignkit.data.loading import Dataset, load
from alignkit.data.tokenizing import Tokenization
from alignkit.objective import DataKind
from alignkit.recipe import DataEntry


def read(
    path: Path,
    kind: type[DataKind],
    max_length: int = 1000,
    prompts: Collection[str] = (),
    progress: Any = None,
    **settings: Any,
) -> Dataset:
    """Load a file as the data `pairs` of a recipe; `settings` are those of its entry."""
    return load(
        DataEntry(path=str(path), **settings),
        kind,
        name="pairs",
        tokenization=Tokenization(byte_tokenizer(), max_length),
        prompts=prompts,
        progress=progress,
    )


def pair(prompt: str = "q", chosen: str = " a", rejected: str = " b", **columns: Any) -> dict[str, Any]:
    """Return a row of preferences."""
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **columns}
