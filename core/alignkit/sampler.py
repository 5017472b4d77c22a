"""Defines what draws completions: its settings, what it returns, and the class that a plugin subclasses.
torch is not imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

Weights = Literal["auto", "merged", "quantized"]
Progress = Callable[[int, int], None]
LEAST_TEMPERATURE = 0.01  # above 0: logits divided by less overflow


@dataclass(frozen=True)
class Sampling:
    """How to sample.

    per_prompt: completions of each prompt. temperature: what the logits are divided by; 0 takes the most
    likely token. top_k, top_p, min_p apply after the temperature, in this order, each to what the one before
    left: sample from the top_k most likely tokens (0 means all); from the fewest most likely tokens whose
    probabilities add up to top_p (Holtzman et al., 2020, arXiv:1904.09751); from the tokens that are at least
    min_p times as likely as the most likely one (Nguyen et al., 2024, arXiv:2407.01082). min_tokens: tokens
    to draw before one that may end the completion. max_tokens: tokens of a completion at most. stop: texts
    that end a completion. seed, step: together with a prompt's number and a sample's place they decide the
    sample; `step` tells apart samples of one prompt that are drawn at different times. batch_size: prompts
    computed together, where the sampler decides by that.
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

    tokens: T ids, end-of-sequence included where the model produced it; after a stop string, up to the token
    that completes it, and no end-of-sequence is appended. logps: T numbers, log π(y_t | x, y_<t) under the
    model itself (temperature 1, nothing cut off), as the sampler computed them. finished: ended by
    end-of-sequence or a stop string, not by `max_tokens`.
    """

    tokens: list[int]
    logps: list[float]
    finished: bool


class SampledRoles(Protocol):
    """What a sampler may use of the run's roles.

    base: the frozen base with its `model`, `tokenizer`, `dtype`, `device`, `pad` and `ends`. model: PEFT's
    model over it, the base's own while there is no adapter. roles: each role by name; its `adapter` is None
    for the bare base.
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
    """Draws completions from a role of the run's base. A subclass has a name and defines `sample`."""

    name: ClassVar[str]

    def __init__(self, roles: Any, weights: Weights = "auto") -> None:
        """Remember the roles (see `SampledRoles`) and what to compute with.

        weights: `merged` is an unquantized copy of the base with the adapter in it, `quantized` is the base
        as it is, `auto` leaves the choice to the sampler.
        """
        self.roles: SampledRoles = roles
        self.weights = weights

    @classmethod
    def missing(cls) -> str | None:
        """Say why it cannot be used here (a package that is not installed, and how to install it), or
        None.
        """
        return None

    @property
    def ends(self) -> set[int]:
        """Token ids that end a completion: end-of-sequence, and what the chat template ends a turn with."""
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

        numbers: each prompt's number in its data set, its place in `prompts` where None. progress(done,
        total) counts prompts.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no `sample`")
