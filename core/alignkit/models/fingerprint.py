"""Tells bases apart by their content, so that a stage is done again when its base has changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from alignkit import recipe
from alignkit.models.pretrained import locate
from alignkit.registry import Registry

WEIGHTS = (".safetensors", ".bin", ".gguf")
"""Files of weights: they may be too large to be read whole before every run."""

CONTENT = (*WEIGHTS, ".json", ".jinja", ".model", ".txt")
"""The files that a base consists of; others, such as a README, do not change what it computes."""

WHOLE = 32 * 2**20
"""Weights of at most this many bytes are hashed whole: it takes a fraction of a second."""

BLOCKS = 64
"""Blocks that are hashed of larger weights: training changes all weights, so every block would differ."""

BLOCK = 64 * 2**10
"""Bytes of a block: with 64 blocks, 4 MiB are read however large the file is."""


def base_fingerprint(spec: recipe.Model, registry: Registry) -> str:
    """Return a text that differs where the base differs.

    It is the SHA-256 of the content of a folder's files, wherever the folder lies; or the hub id and the
    revision as JSON.
    """
    place = Path(locate(spec, registry))
    if not place.is_dir():
        return json.dumps([str(place), spec.revision])
    files = sorted(file for file in place.iterdir() if file.suffix in CONTENT and file.is_file())
    content = [(file.name, file.stat().st_size, _content(file)) for file in files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _content(file: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Of large weights it reads only blocks, spread evenly from the first byte to the last.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size <= WHOLE or file.suffix not in WEIGHTS:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        found = hashlib.sha256()
        for number in range(BLOCKS):
            stream.seek((size - BLOCK) * number // (BLOCKS - 1))
            found.update(stream.read(BLOCK))
    return found.hexdigest()
