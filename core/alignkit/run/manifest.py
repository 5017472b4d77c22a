"""Keeps a stage's manifest: what it was made of, and the SHA-256 of every file that it left."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from typing import Any

from alignkit.measure import Metric
from alignkit.run.files import sha256, write_text
from alignkit.run.folder import MANIFEST, UNHASHED, StageFolder
from alignkit.run.hardware import Hardware
from alignkit.signals import BUILT_IN

PACKAGES = ("alignkit", "torch", "transformers", "peft", "bitsandbytes", "accelerate")


@dataclass(frozen=True)
class TermInputs:
    """One objective of a training stage: its options, its weight in the sum, its data, and what it trains.

    trains: the kind of each trained role that has an adapter of its own, by the role's name.
    """

    objective: str
    weight: float
    on: str
    trains: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """All that a stage's result depends on; `fingerprint` is its hash.

    verb: train, sample, label or evaluate. settings: the stage's, as its recipe gives them. terms: a training
    stage's objectives. code: the SHA-256 of each plugin's file that the stage uses. model: the recipe's, with
    `content`, which tells bases apart wherever they lie. reads: the fingerprint of each stage and data it
    needs.
    """

    alignkit: str
    verb: str
    settings: Mapping[str, Any]
    code: Mapping[str, str]
    model: Mapping[str, Any]
    seed: int
    reads: Mapping[str, str]
    terms: tuple[TermInputs, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the inputs' canonical JSON."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).hexdigest()

    @property
    def trains(self) -> dict[str, str]:
        """Return the kind of each role that the stage trains, by the role's name."""
        return {role: kind for term in self.terms for role, kind in term.trains.items()}


@dataclass(frozen=True)
class Manifest:
    """What is known of a stage.

    line: what it does, in one line. metrics: how each of its numbers is called. hardware: what it ran on;
    None in manifests that were written before November 2026. began: when it was last begun or resumed, in
    seconds since 1970. seconds: how long it worked, as far as is known.
    """

    fingerprint: str
    inputs: Inputs
    line: str = ""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    done: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    hardware: Hardware | None = None
    began: float | None = None
    seconds: float = 0.0


def begin(
    folder: StageFolder,
    inputs: Inputs,
    line: str,
    metrics: Mapping[str, Metric],
    hardware: Hardware | None = None,
) -> Manifest:
    """Write down what the stage will be made of. A stage that is resumed keeps the time that it worked."""
    manifest = Manifest(
        inputs.fingerprint,
        inputs,
        line,
        metrics,
        versions=_versions(),
        hardware=hardware,
        began=time.time(),
        seconds=_worked(folder, inputs.fingerprint),
    )
    _write(folder, manifest)
    return manifest


def _worked(folder: StageFolder, fingerprint: str) -> float:
    """Return how long a stage worked before it was killed, in seconds: until it last wrote a file."""
    earlier = read_manifest(folder)
    if earlier is None or earlier.began is None or earlier.fingerprint != fingerprint:
        return 0.0
    written = max(path.stat().st_mtime for path in folder.path.rglob("*") if path.is_file())
    return earlier.seconds + max(0.0, written - earlier.began)


def finish(folder: StageFolder, manifest: Manifest) -> None:
    """Write down that the stage is done, with the hash of every file but checkpoints and caches."""
    files = {
        str(path.relative_to(folder.path)): sha256(path)
        for path in sorted(folder.path.rglob("*"))
        if path.is_file() and path.name != MANIFEST and path.relative_to(folder.path).parts[0] not in UNHASHED
    }
    seconds = manifest.seconds + (time.time() - manifest.began if manifest.began else 0.0)
    _write(folder, replace(manifest, done=True, files=files, seconds=seconds))


def read_manifest(folder: StageFolder) -> Manifest | None:
    """Return the folder's manifest, or None where there is none to trust."""
    try:
        raw = json.loads(folder.manifest.read_text(encoding="utf-8"))
        metrics = {name: Metric(**metric) for name, metric in raw.get("metrics", {}).items()}
        hardware = raw.get("hardware") and Hardware(**raw["hardware"])
        inputs = _read_inputs(raw["inputs"])
        return Manifest(**{**raw, "inputs": inputs, "metrics": metrics, "hardware": hardware})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def missing_or_changed(folder: StageFolder, manifest: Manifest) -> list[str]:
    """Return the names of files that are not as the manifest says."""
    return [
        name
        for name, digest in manifest.files.items()
        if not (folder.path / name).is_file() or sha256(folder.path / name) != digest
    ]


def _read_inputs(raw: Mapping[str, Any]) -> Inputs:
    """Read a stage's inputs. Until November 2026 its verb was written under `stage`."""
    inputs = {("verb" if name == "stage" else name): value for name, value in raw.items()}
    return Inputs(**{**inputs, "terms": tuple(map(_read_term, raw["terms"]))})


def _read_term(raw: Mapping[str, Any]) -> TermInputs:
    """Read one objective's inputs.

    Until November 2026 its options were written beside the rest, and trained roles without their kinds.
    """
    known = {field.name for field in fields(TermInputs)}
    options = {name: value for name, value in raw.items() if name not in known}
    named = {name: value for name, value in raw.items() if name in known}
    trains = raw["trains"]
    if not isinstance(trains, Mapping):
        trains = {role: BUILT_IN[role].kind for role in trains}
    return TermInputs(**{"options": options, **named, "trains": trains})


def _write(folder: StageFolder, manifest: Manifest) -> None:
    plain = {
        **asdict(manifest),
        "metrics": {name: metric.to_dict() for name, metric in manifest.metrics.items()},
    }
    write_text(folder.manifest, json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n")


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
