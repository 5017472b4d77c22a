"""Takes a trained adapter out of its run: as it is, or merged into an unquantized copy of the base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from alignkit.errors import UserError
from alignkit.run.files import disk_errors
from alignkit.run.manifest import missing_or_changed, read_manifest

ADAPTER = "adapter"


def adapter_of(stage: Path) -> Path:
    """The adapter folder of a finished training stage, its files as they were when it was done."""
    manifest = read_manifest(stage)
    folder = stage / ADAPTER
    if manifest is None or not folder.is_dir():
        known = (
            sorted(path.parent.parent.name for path in stage.parent.glob(f"*/{ADAPTER}/adapter_config.json"))
            if stage.parent.is_dir()
            else []
        )
        raise UserError(
            f"{str(stage)!r} holds no trained adapter",
            hint=f"Finished training stages there: {', '.join(known) or 'none'}. Give runs/RECIPE/STAGE.",
        )
    if not manifest.done:
        raise UserError(
            f"the stage {str(stage)!r} is not finished", hint="Run its recipe again; it goes on where it was."
        )
    damaged = [name for name in missing_or_changed(stage, manifest) if name.startswith(f"{ADAPTER}/")]
    if damaged:
        raise UserError(
            f"{damaged[0]} is missing or not as it was when the stage was done: its SHA-256 differs from "
            "the manifest's",
            where=str(stage),
            hint="Bring the file back, or run the recipe again; it does the stage again.",
        )
    return folder


def export_adapter(stage: Path, to: Path) -> None:
    """Copy the adapter: PEFT's format, with the tokenizer."""
    adapter = adapter_of(stage)
    _require_absent(to)
    with disk_errors(to):
        shutil.copytree(adapter, to)


def export_merged(stage: Path, to: Path) -> None:
    """Write base + adapter as one unquantized model (a reward model as a sequence classifier) that plain
    transformers loads.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    from alignkit.models.base import choose_pad, is_hub_id, load_pretrained

    adapter = adapter_of(stage)
    _require_absent(to)
    config = json.loads((adapter / "adapter_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    classifier = config["task_type"] == "SEQ_CLS"
    cls, options = (
        (AutoModelForSequenceClassification, {"num_labels": 1}) if classifier else (AutoModelForCausalLM, {})
    )
    place, manifest = config["base_model_name_or_path"], read_manifest(stage)
    assert manifest is not None
    if not Path(place).is_dir() and not is_hub_id(place):
        raise UserError(
            f"the base that the adapter lies over is not there: no folder {str(Path(place).absolute())!r}",
            where=str(adapter / "adapter_config.json"),
            hint="Bring the folder back, or put a link to it there.",
        )
    base = load_pretrained(
        cls, place, manifest.inputs["model"]["revision"], where=str(stage), dtype=torch.bfloat16, **options
    )
    model = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    choose_pad(tokenizer)
    # Where end-of-sequence is the only pad there is, better none: a classifier would pass over it, and read
    # the score too early.
    pad = tokenizer.pad_token_id
    model.config.get_text_config().pad_token_id = None if pad == tokenizer.eos_token_id else pad
    with disk_errors(to):
        model.save_pretrained(to)
        tokenizer.save_pretrained(to)


def _require_absent(to: Path) -> None:
    if to.exists():
        raise UserError(
            f"{str(to)!r} exists",
            where="--to",
            hint="Give a folder that does not exist yet; nothing is overwritten.",
        )
