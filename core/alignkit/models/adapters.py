"""Reads and writes adapters in PEFT's own format, with their heads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models.lora import target_modules
from alignkit.recipe.initializations import subtracts

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""PEFT's names of an adapter's files."""

HEAD_KEY = "base_model.model.score.weight"
"""PEFT's name of the head's weight of a sequence classifier, by which plain PEFT loads it."""


def fresh_config(lora: recipe.Lora, dropout: float) -> LoraConfig:
    """Return PEFT's settings of a new adapter, with the given dropout.

    Where the start is subtracted again, the rank is twice the recipe's, and the scale the same. PEFT makes
    every adapter as with `init_lora_weights: true`, which leaves the base alone, and `alignkit.models.starts`
    sets its first weights.
    """
    times = 2 if subtracts(lora.init_lora_weights) else 1
    # PEFT divides alpha by the rank, or by its root.
    alpha_times = math.sqrt(times) if lora.use_rslora else times
    return LoraConfig(
        r=times * lora.r,
        lora_alpha=alpha_times * lora.alpha,  # type: ignore[arg-type]  # whole number or not
        lora_dropout=dropout,
        target_modules=target_modules(lora.target),
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        rank_pattern={name: times * rank for name, rank in lora.rank_pattern.items()},
        alpha_pattern={name: alpha_times * alpha for name, alpha in lora.alpha_pattern.items()},
    )


def saved_config(folder: Path, dropout: float) -> LoraConfig:
    """Return PEFT's settings of a copy of the adapter in `folder`, with the given dropout."""
    saved = LoraConfig.from_pretrained(str(folder))
    assert isinstance(saved, LoraConfig)
    saved.inference_mode, saved.task_type, saved.modules_to_save = False, None, None
    saved.lora_dropout = dropout
    return saved


def read_adapter(folder: Path) -> dict[str, Tensor]:
    """Return the weights of the adapter in `folder`, under the names of PEFT's files."""
    return load_file(folder / WEIGHTS)


def adapter_state(model: Any, adapter: str | None, head: nn.Linear | None) -> dict[str, Tensor]:
    """Return an adapter's weights and its head's on the CPU, under the names of PEFT's files.

    model: PEFT's model over the base. adapter: its name there; None means that there is only a head.
    """
    weights = {} if adapter is None else get_peft_model_state_dict(model, adapter_name=adapter)
    own = {} if head is None else {HEAD_KEY: head.weight}
    return {key: value.detach().cpu().contiguous() for key, value in {**weights, **own}.items()}


def set_adapter_state(
    model: Any, adapter: str, head: nn.Linear | None, state: dict[str, Tensor], *, partial: bool = False
) -> None:
    """Set an adapter's weights and its head's from `state`.

    partial: a head that `state` lacks stays as it is, as where a reward model starts from SFT. Raises
    UserError where the state lacks the head otherwise, and where it does not fit the base.
    """
    weights = {key: value for key, value in state.items() if key != HEAD_KEY}
    if head is not None:
        set_head(head, state, partial=partial)
    outcome = set_peft_model_state_dict(model, weights, adapter_name=adapter)
    wrong = [
        *outcome.unexpected_keys,
        *(key for key in outcome.missing_keys if f".{adapter}." in key and "lora_" in key),
    ]
    if wrong:
        raise UserError(
            f"the saved adapter does not fit the base: {wrong[0]}",
            hint="Was it trained on another base or with another `target`?",
        )


def set_head(head: nn.Linear, state: dict[str, Tensor], *, partial: bool = False) -> None:
    """Set a head's weight from `state`; see `set_adapter_state`."""
    if HEAD_KEY in state:
        head.weight.data.copy_(state[HEAD_KEY])
    elif not partial:
        raise UserError("the saved adapter has no head")


def write_adapter(model: Any, adapter: str, head: nn.Linear | None, tokenizer: Any, folder: Path) -> None:
    """Write an adapter with its head and the tokenizer; `PeftModel.from_pretrained` loads all of it.

    With a head it is the adapter of a sequence classifier, else of a causal language model. The base's name
    is that of the model that lies under `model`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file(adapter_state(model, adapter, head), folder / WEIGHTS, metadata={"format": "pt"})
    config = model.peft_config[adapter].to_dict()
    config["inference_mode"] = True
    config["base_model_name_or_path"] = model.get_base_model().name_or_path
    config["task_type"] = "CAUSAL_LM" if head is None else "SEQ_CLS"
    config["modules_to_save"] = None if head is None else ["score"]
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    text = json.dumps(config, indent=2, sort_keys=True, default=str)
    (folder / CONFIG).write_text(f"{text}\n")
    tokenizer.save_pretrained(str(folder))
