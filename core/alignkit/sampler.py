"""Defines what draws completions: the settings, the result, and the class that a plugin subclasses.

torch is not imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from alignkit.progress import Progress

Weights = Literal["auto", "merged", "quantized"]
"""What a sampler computes with, see `Sampler`."""

LEAST_TEMPERATURE = 0.01
"""The least temperature above 0: logits divided by a smaller one overflow."""


@dataclass(frozen=True)
class Sampling:
    """How to sample.

    per_prompt: completions of each prompt. temperature: divides the logits; 0 takes the most likely token.

    top_k, top_p and min_p apply after the temperature, in this order, each to the tokens that the one before
    it left. top_k: sample from the k most likely tokens; 0 means all. top_p: sample from the fewest most
    likely tokens whose probabilities add up to top_p (Holtzman et al., 2020, arXiv:1904.09751). min_p: sample
    from the tokens that are at least min_p times as likely as the most likely one (Nguyen et al., 2024,
    arXiv:2407.01082).

    min_tokens: tokens drawn before a token may end the completion. max_tokens: the most tokens of a
    completion. stop: texts that end a completion.

    seed, step: decide each sample together with its prompt's number and its place among the prompt's samples.
    Samples of one prompt that are drawn at different times differ in `step`. batch_size: prompts computed
    together, where the sampler itself makes batches.
    """

    per_prompt: int = 4
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    min_tokens: int = 0
    max_tokens: int = 128
    stop: tuple[str, ...] = ()
    seed: int = 0
    step: int = 0
    batch_size: int = 64


@dataclass(frozen=True)
class Drawn:
    """One completion, of T tokens.

    tokens: T ids, with end-of-sequence where the model produced it. Where a stop string ends the completion,
    the last token is the one that completes it; end-of-sequence is not appended. logps: T numbers,
    log π(y_t | x, y_<t) under the model itself (temperature 1, nothing cut off), as the sampler computed
    them. finished: it ended by end-of-sequence or a stop string, not by `max_tokens`.
    """

    tokens: list[int]
    logps: list[float]
    finished: bool


class SampledRoles(Protocol):
    """What a sampler may use of the run's roles.

    base: the frozen base with its `model`, `tokenizer`, `dtype`, `device`, `pad` and `ends`. model: PEFT's
    model over the base, or the base's own model while there is no adapter. roles: each role by name; its
    `adapter` is None for the bare base.
    """

    base: Any
    model: Any
    roles: Mapping[str, Any]

    def active(self, name: str) -> AbstractContextManager[Any]:
        """Give the base as a causal language model with the role's adapter in effect."""
        ...

    def save(self, name: str, folder: Path) -> None:
        """Write the role's adapter, as it is now, in PEFT's format."""
        ...


class Sampler:
    """Draws completions from a role of the run's base.

    A subclass has a name and defines `sample`. plugin: the name of the plugin that registered it, which
    `make_sampler` sets for messages.
    """

    name: ClassVar[str]
    plugin: str = ""

    def __init__(self, roles: Any, weights: Weights = "auto") -> None:
        """Remember the roles (see `SampledRoles`) and what to compute with.

        weights: `merged` is an unquantized copy of the base with the adapter merged in, `quantized` is the
        base as it is, and `auto` leaves the choice to the sampler.
        """
        self.roles: SampledRoles = roles
        self.weights = weights

    @classmethod
    def missing(cls) -> str | None:
        """Return why the sampler cannot be used here, or None where it can.

        For example: a package that is not installed, and how to install it.
        """
        return None

    @property
    def ends(self) -> set[int]:
        """Return the token ids that end a completion.

        They are end-of-sequence, and the token with which the chat template ends a turn.
        """
        return self.roles.base.ends

    def sample(
        self,
        role: str,
        prompts: list[list[int]],
        settings: Sampling,
        *,
        numbers: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> list[list[Drawn]]:
        """Return completion k of prompt i at [i][k], from the role as its adapter is now.

        numbers: each prompt's number in its data set; None means its place in `prompts`. progress(done,
        total) counts prompts.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no `sample`")
