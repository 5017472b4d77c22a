"""Holds the roles over one frozen base: each is an adapter, a scalar head, or both."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from alignkit import recipe
from alignkit.data.rows import Rows, flat_rows, tree_rows
from alignkit.errors import UserError, first_line
from alignkit.example import Group
from alignkit.models.adapters import (
    HEAD_KEY,
    adapter_state,
    fresh_config,
    read_adapter,
    saved_config,
    set_adapter_state,
    set_head,
    write_adapter,
)
from alignkit.models.base import Base
from alignkit.models.forward import autocast
from alignkit.models.lora import peft_quiet, speed_up
from alignkit.models.starts import Starts
from alignkit.signals import BUILT_IN, KINDS


@dataclass(frozen=True)
class Following:
    """How a role follows another: θ ← (1 − rate)·θ + rate·θ_followed, every `every` optimizer steps."""

    role: str
    rate: float = 0.01
    every: int = 1


@dataclass
class LoadedRole:
    """One role over the base.

    kind: what it computes (see `alignkit.signals`). adapter: its name in PEFT; None means the bare base.
    head: from a hidden state to one number, fp32. owned: the adapter is its own, not another role's. prompt:
    the data's column under whose prompts it reads the completions. following: whose weights it follows.
    """

    kind: str
    adapter: str | None
    head: nn.Linear | None
    trainable: bool
    owned: bool = True
    prompt: str | None = None
    following: Following | None = None


class Roles:
    """The base with its roles, of which one is active at a time.

    As a context, it takes every adapter off again at its end. base: the frozen base. model: PEFT's model over
    it, or the base's own model while there is no adapter. roles: each role by name.
    """

    def __init__(self, base: Base, lora: recipe.Lora, seed: int) -> None:
        self.base, self.lora, self.seed = base, lora, seed
        self.roles: dict[str, LoadedRole] = {}
        self.starts = Starts(base, lora, seed)
        self.model: Any = base.model
        self._layout = tree_rows if base.trees else flat_rows
        self._adapter: str | None = None
        if base.checkpointing:
            base.model.gradient_checkpointing_enable(
                {"use_reentrant": False, "context_fn": self._checkpoint_contexts}
            )

    def __enter__(self) -> Roles:
        return self

    def __exit__(self, *exception: object) -> None:
        if isinstance(self.model, PeftModel):
            self.model.unload()
        self.roles.clear()

    def rows(self, groups: Sequence[Group], names: Collection[str] | None = None) -> Rows:
        """Lay groups out as the base can take them, as prefix trees or flat.

        Where one of the roles `names` (all roles where None) reads the completions under another prompt, they
        are laid out after that prompt too.
        """
        read = [self.roles[name] for name in (self.roles if names is None else names)]
        columns = {role.prompt for role in read if role.prompt is not None}
        under = {column: self._layout([group.under(column) for group in groups]) for column in columns}
        return replace(self._layout(groups), under=under)

    def add(
        self,
        name: str,
        *,
        trainable: bool,
        start: Path | None = None,
        kind: str | None = None,
        shares: str | None = None,
        prompt: str | None = None,
        following: Following | None = None,
    ) -> None:
        """Add a role that starts as a copy of the adapter in the folder `start`, or fresh.

        A role that is fresh, and neither trained nor following another, has no adapter: it is the bare base,
        with a head where its kind has one. Where the adapter of a fresh trained role, which was added before,
        changes what the base computes, it is a copy of that adapter. kind: what the role is where its name
        does not say so. shares: the role, added before, whose adapter this one uses; it then has no start of
        its own, but for its head. prompt, following: see `LoadedRole`.
        """
        kind = kind or BUILT_IN[name].kind
        own = trainable or start is not None or following is not None or self.starts.moved
        adapter = self._adapter_of(name) if own else None
        if shares is not None:
            adapter = self.roles[shares].adapter
        elif adapter is not None:
            self._add_adapter(adapter, start, self.lora.dropout if trainable else 0.0)
        head = self._fresh_head(trainable) if KINDS[kind].headed else None
        self.roles[name] = LoadedRole(kind, adapter, head, trainable, shares is None, prompt, following)
        self._require_grad()
        if start is not None:
            self.load(name, read_adapter(start), partial=True)

    def parameters(self, name: str) -> dict[str, nn.Parameter]:
        """Return a role's own parameters by their names in its saved adapter."""
        role = self.roles[name]
        found: dict[str, nn.Parameter] = {}
        if role.adapter is not None and role.owned:
            for key, parameter in self.model.named_parameters():
                if f".{role.adapter}." in key and "lora_" in key:
                    found[key.replace(f".{role.adapter}.", ".")] = parameter
        if role.head is not None:
            found[HEAD_KEY] = cast(nn.Parameter, role.head.weight)
        return found

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return all trainable parameters as `role/name`, in a fixed order."""
        return {
            f"{name}/{key}": parameter
            for name, role in self.roles.items()
            if role.trainable
            for key, parameter in self.parameters(name).items()
        }

    def following(self) -> dict[str, nn.Parameter]:
        """Return all parameters of roles that follow others, as `role/name`, in a fixed order."""
        return {
            f"{name}/{key}": parameter
            for name, role in self.roles.items()
            if role.following is not None
            for key, parameter in self.parameters(name).items()
        }

    @torch.no_grad()
    def follow(self, steps: int) -> None:
        """Move the roles that follow others, after `steps` optimizer steps.

        The matrices of the adapters are averaged, and a head too; only with the rate 1 is that the average of
        their products. Source: Gorbatovski et al., 2024, arXiv:2404.09656, eq. 4 and 5.
        """
        for name, role in self.roles.items():
            if role.following is None or steps % role.following.every:
                continue
            followed = self.parameters(role.following.role)
            for key, parameter in self.parameters(name).items():
                parameter.lerp_(followed[key], role.following.rate)

    @contextmanager
    def active(self, name: str) -> Iterator[Any]:
        """Give the base as a causal language model with the role's adapter in effect."""
        self._activate(self.roles[name].adapter)
        with autocast(self.base.device, self.base.dtype):
            yield self.base.model

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Switch dropout off for a while: signals are then those of the finished model."""
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

    def state(self, name: str) -> dict[str, Tensor]:
        """Return a role's weights under the names of PEFT's own files, on the CPU."""
        role = self.roles[name]
        return adapter_state(self.model, role.adapter, role.head)

    def load(self, name: str, state: dict[str, Tensor], *, partial: bool = False) -> None:
        """Set a role's weights from `state`, see `set_adapter_state`."""
        role = self.roles[name]
        assert role.adapter is not None
        if role.owned:
            set_adapter_state(self.model, role.adapter, role.head, state, partial=partial)
        elif role.head is not None:
            set_head(role.head, state, partial=partial)

    def save(self, name: str, folder: Path) -> None:
        """Write the role's adapter, its head and the tokenizer in PEFT's format."""
        role = self.roles[name]
        assert role.adapter is not None
        write_adapter(self.model, role.adapter, role.head, self.base.tokenizer, folder)
        self.starts.write(role.adapter, folder)

    def _adapter_of(self, name: str) -> str:
        """Return what PEFT calls the role's adapter: the role's name, unless a module or weight has it.

        PEFT, and `parameters`, find an adapter's weights by its name among the parts of their paths.
        """
        paths = (path for path, _ in self.base.model.named_modules() if "lora_" not in path)
        parts = {
            "base_model",
            "base_layer",
            "weight",
            "bias",
            *(part for path in paths for part in path.split(".")),
        }
        return f"role_{name}" if name in parts or name.startswith("lora_") else name

    def _add_adapter(self, adapter: str, start: Path | None, dropout: float) -> None:
        """Make an adapter: a copy of that in the folder `start`, still without its weights; or fresh."""
        config = fresh_config(self.lora, dropout) if start is None else saved_config(start, dropout)
        torch.manual_seed(self.seed)
        try:
            with peft_quiet():
                if isinstance(self.model, PeftModel):
                    self.model.add_adapter(adapter, config)
                else:
                    self.model = PeftModel(self.base.model, config, adapter_name=adapter)
        except ValueError as error:  # for example: dropout on the parameters of experts
            raise UserError(
                f"PEFT refuses this adapter: {first_line(error)}",
                where="model.lora",
                hint="Change the setting that it names.",
            ) from error
        if start is None:
            self.starts.begin(adapter)
        else:
            self.starts.resume(adapter, start)
        speed_up(self.model)

    def _fresh_head(self, trainable: bool) -> nn.Linear:
        head = nn.Linear(self.base.model.config.get_text_config().hidden_size, 1, bias=False)
        # Zero, so that a fresh reward model prefers nothing: the noise of a random head would first have to
        # be unlearned.
        nn.init.zeros_(head.weight)
        return head.to(self.base.device).requires_grad_(trainable)

    def _require_grad(self) -> None:
        """Let every trainable role keep its gradients: PEFT freezes the adapters that are not active."""
        for name, role in self.roles.items():
            for parameter in self.parameters(name).values():
                parameter.requires_grad_(role.trainable)

    def _activate(self, adapter: str | None) -> None:
        self._adapter = adapter
        for layer in self.model.modules():
            if isinstance(layer, BaseTunerLayer):
                # The public setters would switch gradients off for the other roles at every change.
                layer._disable_adapters = adapter is None
                if adapter is not None:
                    layer._active_adapter = [adapter]

    def _checkpoint_contexts(self) -> tuple[Any, Any]:
        """Return the contexts of a checkpointed layer: one for its forward pass, one for computing it again.

        The second makes the role active that was active in the first.
        """
        return nullcontext(), self._recomputing(self._adapter)

    @contextmanager
    def _recomputing(self, adapter: str | None) -> Iterator[None]:
        current = self._adapter
        self._activate(adapter)
        yield
        self._activate(current)
