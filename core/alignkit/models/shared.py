"""Holds the base of a run, of which each part is loaded when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from transformers import PreTrainedTokenizerBase

from alignkit import recipe
from alignkit.data.tokenizing import Tokenization
from alignkit.errors import UserError
from alignkit.models.base import Base, load_base
from alignkit.models.fingerprint import base_fingerprint
from alignkit.models.pretrained import load_tokenizer, most_positions
from alignkit.models.roles import Roles
from alignkit.progress import ProgressOf, doing, silent
from alignkit.registry import Registry


class SharedBase:
    """The base of a run: tokenizer, positions and weights, each loaded when first needed and then kept.

    settings: the recipe's `model`. note: shows the user a line. progress: shows what is being loaded.
    """

    def __init__(
        self,
        settings: recipe.Model,
        registry: Registry,
        device: torch.device,
        note: Callable[[str], None],
        progress: ProgressOf = silent,
    ) -> None:
        self.settings, self.registry, self.device, self.note = settings, registry, device, note
        self.progress = progress
        self._base: Base | None = None

    @property
    def base(self) -> Base:
        """Return the base with its weights, see `load_base`. Tells where rows cannot be prefix trees."""
        if self._base is None:
            with doing(self.progress(f"loading {self.settings.base}")):
                self._base = load_base(self.settings, self.registry, self.device)
            if self._base.flat_because:
                self.note(f"rows are laid flat, not as prefix trees: {self._base.flat_because}")
        return self._base

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the base's tokenizer. Loads no weights."""
        return self._base.tokenizer if self._base else load_tokenizer(self.settings, self.registry)

    @cached_property
    def positions(self) -> int | None:
        """Return the most tokens that the base has positions for; None means that there is no bound.

        Loads no weights.
        """
        return self._base.positions if self._base else most_positions(self.settings, self.registry)

    @cached_property
    def fingerprint(self) -> str:
        """Return what tells the base apart from others, see `base_fingerprint`. Loads no weights."""
        return base_fingerprint(self.settings, self.registry)

    def tokenization(self, max_length: int, room: int = 0) -> Tokenization:
        """Return the tokenizer with a limit on the tokens of a prompt with its completion.

        The limit is `max_length`, or the base's positions where they are fewer, less the `room` that is left
        for a completion to be sampled. Loads no weights. Raises UserError where no token of a prompt is left.
        """
        limit = max_length
        if self.positions is not None and self.positions < max_length:
            limit = self.positions
            self.note(f"max_length {max_length} is more than the base has positions for; it is {limit} here")
        if limit <= room:
            raise UserError(
                f"completions of {room} tokens leave no room for a prompt: "
                f"the base has positions for {limit}",
                where="max_tokens",
                hint="Lower max_tokens, or choose another base.",
            )
        return Tokenization(self.tokenizer, limit - room)

    def roles(self, seed: int, *, dropout: bool = True) -> Roles:
        """Return the base without any role yet, as a context that takes its roles off again.

        dropout: whether the dropout of the recipe's `model.lora` is in effect.
        """
        lora = self.settings.lora
        return Roles(self.base, lora if dropout else lora.model_copy(update={"dropout": 0.0}), seed)
