"""Counts the weights of a base, without loading them: from the headers of its files, or its configuration."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.registry import Registry

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""The file of all weights, and the list of files where there are several."""


def known_parameters(spec: recipe.Model, registry: Registry) -> int | None:
    """Return how many weights the base has, or None where that is not known here without work.

    Known are those of a folder, of files of the hub that were downloaded before, and of a registered model
    whose plugin says it. Nothing is downloaded, unpacked or loaded.
    """
    if spec.base in registry.models.items:
        return registry.parameters.get(spec.base)
    return _in_files(spec.base, spec.revision)


def counted_parameters(spec: recipe.Model, registry: Registry) -> int:
    """Return how many weights the base has; where no file says so, its architecture does.

    Raises UserError where there is no such base.
    """
    known = known_parameters(spec, registry)
    if known is not None:
        return known
    from alignkit.models.pretrained import locate

    place = locate(spec, registry)
    found = _in_files(place, spec.revision)
    return _by_architecture(place, spec.revision) if found is None else found


def _in_files(place: str, revision: str | None) -> int | None:
    """Return what the headers of the files of weights add up to; None where one of them is not there."""
    single = _file(place, SINGLE, revision)
    if single is not None:
        return _in_header(single)
    index = _file(place, INDEX, revision)
    if index is None:
        return None
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(index) from error
    files = [_file(place, name, revision) for name in sorted(names)]
    return sum(_in_header(file) for file in files if file) if all(files) else None


def _file(place: str, name: str, revision: str | None) -> Path | None:
    """Return a file of a local folder, or of a base of the hub that was downloaded before."""
    if Path(place).is_dir():
        found = Path(place) / name
        return found if found.is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(place, name, revision=revision or "main")
    except HFValidationError:  # no name of the hub: `locate` says so
        return None
    return Path(cached) if isinstance(cached, str) else None


def _in_header(file: Path) -> int:
    """Return how many numbers a file of safetensors holds.

    It begins with the length of its header, in 8 bytes; the header is JSON. Raises UserError for a file that
    does not, such as one that was cut off, or a pointer of Git LFS.
    """
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > file.stat().st_size:
            raise _damaged(file)
        try:
            header: dict[str, Any] = json.loads(stream.read(size))
            return sum(
                math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(file) from error


def _damaged(file: Path) -> UserError:
    return UserError(
        "this is no file of weights as safetensors writes it; it is damaged, or was not fetched whole",
        where=str(file),
        hint="Fetch the base again.",
    )


def _by_architecture(place: str, revision: str | None) -> int:
    """Return how many weights the model has that its configuration describes. No weight takes memory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from alignkit.models.pretrained import load_pretrained

    config = load_pretrained(AutoConfig, place, revision)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config).num_parameters()
