"""Roles: policy, reference, reward and value as adapters, and where needed a scalar head, over one frozen
base.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alignkit import recipe
from alignkit.data.rows import Rows, flat_rows, tree_rows
from alignkit.errors import UserError, first_line
from alignkit.models.base import Base
from alignkit.models.forward import autocast, hidden_states
from alignkit.models.logps import output_head, token_logps
from alignkit.models.lora import speed_up, target_modules

HEADED = ("reward", "value")
HEAD_KEY = "base_model.model.score.weight"


@dataclass
class Role:
    """kind: policy, reference, reward or value. adapter: its name in PEFT, None for the bare base. head:
    scalar, fp32.
    """

    kind: str
    adapter: str | None
    head: nn.Linear | None
    trainable: bool


class Roles:
    """The base with its roles. One role is active at a time; `signals` activates the one it computes."""

    def __init__(self, base: Base, lora: recipe.Lora, seed: int) -> None:
        self.base, self.lora, self.seed = base, lora, seed
        self.roles: dict[str, Role] = {}
        self._adapter: str | None = None
        self.model: Any = base.model
        self.rows = tree_rows if base.trees else flat_rows
        if base.checkpointing:
            base.model.gradient_checkpointing_enable(
                {"use_reentrant": False, "context_fn": self._checkpoint_contexts}
            )

    def __enter__(self) -> Roles:
        return self

    def __exit__(self, *exception: object) -> None:
        """Take every adapter off again; the base is as it was."""
        if isinstance(self.model, PeftModel):
            self.model.unload()
        self.roles.clear()

    def _checkpoint_contexts(self) -> tuple[Any, Any]:
        """Contexts for a checkpointed layer's forward and its recomputation, which needs the role of the
        forward.
        """
        return nullcontext(), self._recomputing(self._adapter)

    @contextmanager
    def _recomputing(self, adapter: str | None) -> Iterator[None]:
        current = self._adapter
        self._activate(adapter)
        yield
        self._activate(current)

    def add(self, name: str, *, trainable: bool, start: Path | None = None, kind: str | None = None) -> None:
        """Add a role that starts as a copy of the adapter in `start`, or fresh. A frozen fresh one without a
        head is the bare base.

        kind: what it is where its name does not say so, as with several reward models.
        """
        kind = kind or name
        head = (
            nn.Linear(self.base.model.config.get_text_config().hidden_size, 1, bias=False)
            if kind in HEADED
            else None
        )
        adapter = name if trainable or start is not None else None
        if adapter is not None:
            torch.manual_seed(self.seed)
            config = self._config(start, trainable)
            try:
                if isinstance(self.model, PeftModel):
                    self.model.add_adapter(adapter, config)
                else:
                    self.model = PeftModel(self.base.model, config, adapter_name=adapter)
            except ValueError as error:  # dropout on the parameters of experts, say
                raise UserError(
                    f"PEFT refuses this adapter: {first_line(error)}",
                    where="model.lora",
                    hint="Change the setting it names.",
                ) from error
            speed_up(self.model)
        if head is not None:
            # Zero, so that a reward model starts indifferent: a random head's noise would first have to be
            # unlearned.
            nn.init.zeros_(head.weight)
            head.to(self.base.device).requires_grad_(trainable)
        self.roles[name] = Role(kind, adapter, head, trainable)
        self._require_grad()
        if start is not None:
            self.load(name, load_file(start / "adapter_model.safetensors"), partial=True)

    def _config(self, start: Path | None, trainable: bool) -> LoraConfig:
        if start is not None:
            saved = LoraConfig.from_pretrained(str(start))
            assert isinstance(saved, LoraConfig)
            saved.inference_mode, saved.task_type, saved.modules_to_save = False, None, None
            saved.lora_dropout = self.lora.dropout if trainable else 0.0
            return saved
        lora = self.lora
        return LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT divides by the rank, whole number or not
            lora_dropout=lora.dropout,
            target_modules=target_modules(lora.target),
        )

    def _layers(self) -> Iterator[BaseTunerLayer]:
        return (module for module in self.model.modules() if isinstance(module, BaseTunerLayer))

    def _require_grad(self) -> None:
        """PEFT freezes what is not active; every trainable role keeps its gradients whichever is active."""
        for role in self.roles.values():
            for parameter in self._adapter_parameters(role):
                parameter.requires_grad_(role.trainable)

    def _adapter_parameters(self, role: Role) -> Iterator[nn.Parameter]:
        if role.adapter is not None:
            for name, parameter in self.model.named_parameters():
                if f".{role.adapter}." in name and "lora_" in name:
                    yield parameter

    def parameters(self, name: str) -> dict[str, nn.Parameter]:
        """A role's own parameters by their names in its saved adapter."""
        role = self.roles[name]
        found: dict[str, nn.Parameter] = {}
        if role.adapter is not None:
            for key, parameter in self.model.named_parameters():
                if f".{role.adapter}." in key and "lora_" in key:
                    found[key.replace(f".{role.adapter}.", ".")] = parameter
        if role.head is not None:
            found[HEAD_KEY] = cast(nn.Parameter, role.head.weight)
        return found

    def trainable(self) -> dict[str, nn.Parameter]:
        """All trainable parameters as `role/name`, in a fixed order."""
        return {
            f"{name}/{key}": parameter
            for name, role in self.roles.items()
            if role.trainable
            for key, parameter in self.parameters(name).items()
        }

    @contextmanager
    def active(self, name: str) -> Iterator[Any]:
        """The base as a causal language model with the role's adapter in effect."""
        self._activate(self.roles[name].adapter)
        with autocast(self.base.device, self.base.dtype):
            yield self.base.model

    def _activate(self, adapter: str | None) -> None:
        self._adapter = adapter
        for layer in self._layers():
            # The public setters would switch gradients off for the other roles at every change.
            layer._disable_adapters = adapter is None
            if adapter is not None:
                layer._active_adapter = [adapter]

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Signals as they are of the finished model."""
        dropouts = [
            module for module in self.model.modules() if isinstance(module, nn.Dropout) and module.training
        ]
        try:
            for module in dropouts:
                module.training = False
            yield
        finally:
            for module in dropouts:
                module.training = True

    def signals(self, name: str, rows: Rows, *, entropy: bool = False) -> dict[str, Tensor]:
        """The signals of a role for the rows' batch: (N, T) log-probabilities and entropy, (N,) scores or (N,
        T) values.
        """
        role = self.roles[name]
        with self.active(name) as model:
            hidden = hidden_states(model, rows)
        if role.kind == "reward":
            assert role.head is not None
            return {"scores": role.head(hidden.index_select(0, rows.last).float()).squeeze(-1)}
        hidden = hidden.index_select(0, rows.predicting)
        if role.kind == "value":
            assert role.head is not None
            return {"values": rows.scatter(role.head(hidden.float()).squeeze(-1))}
        targets = rows.batch.tokens.flatten()[rows.slot]
        logps, entropies = token_logps(hidden, output_head(self.base.model), targets, entropy=entropy)
        prefix = "" if role.kind == "policy" else f"{role.kind}_"
        found = {f"{prefix}logps": rows.scatter(logps)}
        if entropy:
            found["entropy"] = rows.scatter(entropies)
        return found

    def state(self, name: str) -> dict[str, Tensor]:
        """A role's weights under the names of PEFT's own files, on the CPU."""
        role = self.roles[name]
        adapter = get_peft_model_state_dict(self.model, adapter_name=role.adapter) if role.adapter else {}
        head = {HEAD_KEY: role.head.weight} if role.head is not None else {}
        return {key: value.detach().cpu().contiguous() for key, value in {**adapter, **head}.items()}

    def load(self, name: str, state: dict[str, Tensor], *, partial: bool = False) -> None:
        """Set a role's weights from `state`. partial: a missing head keeps its own (a reward model that
        starts from SFT).
        """
        role = self.roles[name]
        assert role.adapter is not None
        state = dict(state)
        head = state.pop(HEAD_KEY, None)
        if role.head is not None and head is not None:
            role.head.weight.data.copy_(head)
        elif role.head is not None and not partial:
            raise UserError(f"the saved {name} has no head")
        outcome = set_peft_model_state_dict(self.model, state, adapter_name=role.adapter)
        wrong = [
            *outcome.unexpected_keys,
            *(key for key in outcome.missing_keys if f".{role.adapter}." in key and "lora_" in key),
        ]
        if wrong:
            raise UserError(
                f"the saved adapter does not fit the base: {wrong[0]}",
                hint="Was it trained on another base or with another `target`?",
            )

    def save(self, name: str, folder: Path) -> None:
        """Write the role in PEFT's format, with the tokenizer; `PeftModel.from_pretrained` loads it, a reward
        head too.
        """
        folder.mkdir(parents=True, exist_ok=True)
        role = self.roles[name]
        save_file(self.state(name), folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config = self.model.peft_config[role.adapter].to_dict()
        config.update(inference_mode=True, base_model_name_or_path=self.base.model.name_or_path)
        config["task_type"], config["modules_to_save"] = (
            ("SEQ_CLS", ["score"]) if role.head is not None else ("CAUSAL_LM", None)
        )
        config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
        (folder / "adapter_config.json").write_text(
            json.dumps(config, indent=2, sort_keys=True, default=str) + "\n"
        )
        self.base.tokenizer.save_pretrained(str(folder))
