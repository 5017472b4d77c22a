"""A stage's manifest: which inputs made it, whether it is done, and the SHA-256 of every file that it
left.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alignkit.checkpoint import sha256, write_text

NAME = "manifest.json"
UNHASHED = ("checkpoints", "signals", "rollouts")
PACKAGES = ("alignkit", "torch", "transformers", "peft", "bitsandbytes", "accelerate")


@dataclass(frozen=True)
class Manifest:
    """`inputs` is all that the stage's result depends on; `fingerprint` its hash."""

    fingerprint: str
    inputs: dict[str, Any]
    done: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def fingerprint_of(inputs: dict[str, Any]) -> str:
    """SHA-256 of the inputs' canonical JSON."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest, or None where there is none to trust."""
    try:
        return Manifest(**json.loads((folder / NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def begin(folder: Path, inputs: dict[str, Any]) -> None:
    """Note what the stage will be made of."""
    _write(
        folder,
        Manifest(fingerprint_of(inputs), json.loads(json.dumps(inputs, default=str)), versions=_versions()),
    )


def finish(folder: Path, inputs: dict[str, Any]) -> None:
    """Note that the stage is done, with the hash of every file but checkpoints and caches."""
    files = {
        str(path.relative_to(folder)): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME and path.relative_to(folder).parts[0] not in UNHASHED
    }
    _write(
        folder,
        Manifest(
            fingerprint_of(inputs), json.loads(json.dumps(inputs, default=str)), True, _versions(), files
        ),
    )


def missing_or_changed(folder: Path, manifest: Manifest) -> list[str]:
    """Files that are not as the manifest says."""
    return [
        name
        for name, digest in manifest.files.items()
        if not (folder / name).is_file() or sha256(folder / name) != digest
    ]


def _write(folder: Path, manifest: Manifest) -> None:
    write_text(folder / NAME, json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n")


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
