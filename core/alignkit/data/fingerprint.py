"""Computes a fingerprint of data, so that a stage is done again when its data changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from alignkit.data.reading import is_local
from alignkit.recipe import DataEntry


def data_fingerprint(entry: DataEntry) -> str:
    """Return the SHA-256 of the data and of how it is read.

    Data on this machine counts by its contents, wherever it lies. Data on the hub counts by its name.
    """
    path = Path(entry.path).expanduser()
    if not is_local(entry.path) or not path.exists():
        return hashlib.sha256(entry.model_dump_json().encode()).hexdigest()
    digest = hashlib.sha256(entry.model_dump_json(exclude={"path"}).encode())
    if path.is_file():
        digest.update(Path(path.name.removesuffix(".gz")).suffix.encode())  # it decides on the reader
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(f"\n{file.relative_to(path)}\n".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
