"""Takes a trained adapter out of its run: as it is, or merged into an unquantized copy of the base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignkit.errors import UserError
from alignkit.recipe import Model
from alignkit.run.files import disk_errors
from alignkit.run.finished import finished_adapter


def export_adapter(stage: Path, to: Path) -> None:
    """Copy the adapter of a finished stage, in PEFT's format with the tokenizer, to the new folder `to`.

    Raises UserError where `to` exists, and where `finished_adapter` does.
    """
    adapter, _ = finished_adapter(stage)
    _require_absent(to)
    with disk_errors(to):
        shutil.copytree(adapter, to)


DTYPE = "bfloat16"
"""The dtype of merged models, where nothing else is asked for."""


def export_merged(stage: Path, to: Path, dtype: str = DTYPE) -> None:
    """Write the base with the adapter merged in as one unquantized model that plain transformers loads.

    A reward model becomes a sequence classifier. An adapter that began with what quantization lost (LoftQ) is
    merged into the quantized weights, written out: over the original ones it would count that twice. dtype:
    of the weights, by torch's name. Raises
    UserError where `to` exists, where the base is not where the adapter expects it, and where
    `finished_adapter` does.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoTokenizer

    from alignkit.models.lora import peft_quiet
    from alignkit.models.pretrained import choose_pad

    adapter, manifest = finished_adapter(stage)
    _require_absent(to)
    numbers: torch.dtype = getattr(torch, dtype)
    base = _load_base(stage, adapter, manifest.inputs.model, numbers)
    with peft_quiet():
        model: Any = PeftModel.from_pretrained(base, str(adapter))
    model = model.merge_and_unload().to(numbers)
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    choose_pad(tokenizer)
    # Where end-of-sequence is the only pad token there is, none is better: a classifier would skip it, and
    # read the score too early.
    pad = tokenizer.pad_token_id
    model.config.get_text_config().pad_token_id = None if pad == tokenizer.eos_token_id else pad
    with disk_errors(to):
        model.save_pretrained(to)
        tokenizer.save_pretrained(to)


def model_settings(model: Mapping[str, Any]) -> Model:
    """Return the recipe's settings of the model from a manifest, which adds what tells bases apart."""
    return Model.model_validate({key: value for key, value in model.items() if key != "content"})


def _load_base(stage: Path, adapter: Path, model: Mapping[str, Any], dtype: Any) -> Any:
    """Return the unquantized base that the adapter's own settings name, with the output that it expects.

    model: the recipe's, as the manifest has it. dtype: torch's, of the weights.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    from alignkit.models.adapters import CONFIG
    from alignkit.models.pretrained import is_hub_id, load_pretrained
    from alignkit.models.starts import kind_of

    config = json.loads((adapter / CONFIG).read_text())
    place = config["base_model_name_or_path"]
    if not Path(place).is_dir() and not is_hub_id(place):
        raise UserError(
            f"the base that the adapter lies over is not there: no folder {str(Path(place).absolute())!r}",
            where=str(adapter / CONFIG),
            hint="Bring the folder back, or put a link to it there.",
        )
    cls: Any = AutoModelForCausalLM
    options: dict[str, Any] = {"dtype": dtype}
    if config["task_type"] == "SEQ_CLS":
        cls = AutoModelForSequenceClassification
        options["num_labels"] = 1
    lossy = kind_of(adapter) == "loftq"
    if lossy:
        options |= _quantization(model)
    base = load_pretrained(cls, place, model["revision"], where=str(stage), **options)
    return base.dequantize() if lossy else base


def _quantization(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options by which the base is loaded as it was quantized in the run."""
    import torch

    from alignkit.models.base import compute_dtype, quantization_config

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    spec = model_settings(model)
    dtype = compute_dtype(spec.dtype, device)
    return {
        "quantization_config": quantization_config(spec, dtype),
        "dtype": dtype,
        "device_map": {"": device},
    }


def _require_absent(to: Path) -> None:
    if to.exists():
        raise UserError(
            f"{str(to)!r} exists",
            where="--to",
            hint="Give a folder that does not exist yet; nothing is overwritten.",
        )
