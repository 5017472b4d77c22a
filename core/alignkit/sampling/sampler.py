"""What draws completions: its settings, what it returns, and the class that a plugin subclasses. Nothing here
imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from alignkit.models.roles import Roles

Weights = Literal["auto", "merged", "quantized"]
Progress = Callable[[int, int], None]
LEAST_TEMPERATURE = 0.01  # above 0: logits divided by less overflow


@dataclass(frozen=True)
class Sampling:
    """How to sample. Temperature 0 takes the likeliest token.

    top_k, top_p, min_p: after the temperature, in this order, each on what the one before left: the k
    likeliest tokens (0: all), the fewest likeliest whose probability reaches p (Holtzman et al., 2020,
    arXiv:1904.09751), those at least min_p times as likely as the likeliest (Nguyen et al., 2024,
    arXiv:2407.01082). min_tokens: so many tokens are drawn before one that may end the completion. stop:
    texts that end a completion. seed, step: with a prompt's number and a sample's place they decide the
    sample; `step` is for samples of one prompt at different times. batch_size: prompts computed together,
    where the sampler decides by that.
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


class Sampler:
    """Draws completions from a role of the run's base. A subclass has a name and defines `sample`."""

    name: ClassVar[str]

    def __init__(self, roles: Roles, weights: Weights = "auto") -> None:
        """weights: what to compute with; merged: an unquantized copy of the base with the adapter in it,
        quantized: the base as it is.
        """
        self.roles, self.weights = roles, weights

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be used here (a package that is not installed, and how to install it), None where it
        can.
        """
        return None

    @property
    def ends(self) -> set[int]:
        """Token ids that end a completion: end-of-sequence, and what the chat template ends a turn with."""
        from alignkit.data.tokenizing import Tokenization

        base = self.roles.base
        return base.ends | Tokenization(base.tokenizer, max_length=8).stop_ids

    def sample(
        self,
        role: str,
        prompts: list[list[int]],
        settings: Sampling,
        *,
        numbers: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> list[list[Drawn]]:
        """Completion k of prompt i at [i][k], from the role as its adapter is now.

        numbers: each prompt's number in its data set, its place in `prompts` where None. progress(done,
        total) counts prompts.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no `sample`")
