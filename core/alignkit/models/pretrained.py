"""Finds a base by its name in a recipe, and loads its tokenizer, its configuration and its weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from alignkit import recipe
from alignkit.errors import UserError, first_line, plugin_errors
from alignkit.registry import Registry


def locate(spec: recipe.Model, registry: Registry) -> str:
    """Return the folder or the hub id that `model.base` stands for.

    A registered short name gives what its plugin says, a local folder its whole path, and a hub id itself.
    Raises UserError for anything else.
    """
    if spec.base in registry.models.items:
        find = registry.models.get(spec.base)
        with plugin_errors(
            f"the plugin that registers {spec.base!r} cannot tell where it is",
            find,
            where="model.base",
            hint="Fix the plugin, or give a local folder or a hub id.",
        ):
            return find()
    if Path(spec.base).is_dir():
        return str(Path(spec.base).resolve())
    if is_hub_id(spec.base):
        return spec.base
    raise UserError(
        f"no folder {spec.base!r}",
        where="model.base",
        hint="Give a local folder, a hub id (owner/name), or one of: "
        f"{', '.join(sorted(registry.models.items))}.",
    )


def is_hub_id(name: str) -> bool:
    """Return whether this may be a model's name on the hub; otherwise it is the name of a folder."""
    return name.count("/") <= 1 and not name.startswith((".", "/", "~"))


def load_pretrained(
    cls: Any, place: str, revision: str | None, *, where: str = "model.base", **options: Any
) -> Any:
    """Call `cls.from_pretrained` without progress bars.

    Raises UserError, at the key path `where`, where there is no such model or no network.
    """
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return cls.from_pretrained(place, revision=revision or "main", **options)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot load {place!r}: {first_line(error)}",
            where=where,
            hint="Check the spelling and the network, or give a local folder; a folder needs config.json, "
            "weights and a tokenizer.",
        ) from error


def load_tokenizer(spec: recipe.Model, registry: Registry) -> PreTrainedTokenizerBase:
    """Return the base's tokenizer, with a pad token.

    Raises UserError where it has no end-of-sequence token.
    """
    place = locate(spec, registry)
    tokenizer = load_pretrained(AutoTokenizer, place, spec.revision)
    if tokenizer.eos_token_id is None:
        raise UserError(
            "the tokenizer has no end-of-sequence token",
            where="model.base",
            hint="Completions need one; choose another base.",
        )
    try:
        ends = GenerationConfig.from_pretrained(place, revision=spec.revision or "main").eos_token_id
    except OSError:  # many bases have no generation settings
        ends = None
    choose_pad(tokenizer, ends if isinstance(ends, list) else [ends])
    return tokenizer


def choose_pad(tokenizer: PreTrainedTokenizerBase, ends: Sequence[int | None] = ()) -> None:
    """Make sure that the pad token is not one that ends a completion.

    transformers' sequence classifiers skip trailing pads, so they would read the score one token too early.
    Where the tokenizer has no pad token, or one that ends a completion, another special token takes its
    place. Where there is no other, end-of-sequence does. ends: further token ids that end a completion.
    """
    ending = [tokenizer.eos_token_id, *ends]
    others = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    special = [tokenizer.pad_token, tokenizer.unk_token, tokenizer.bos_token, *others]
    free = [
        token
        for token in special
        if token is not None and tokenizer.convert_tokens_to_ids(str(token)) not in ending
    ]
    tokenizer.pad_token = free[0] if free else tokenizer.eos_token


def most_positions(spec: recipe.Model, registry: Registry) -> int | None:
    """Return the most tokens that the base has positions for; None means that there is no bound.

    Loads no weights.
    """
    return positions_of(load_pretrained(AutoConfig, locate(spec, registry), spec.revision))


def positions_of(config: Any) -> int | None:
    """Return the most tokens that a configuration has positions for; None means that there is no bound."""
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None
