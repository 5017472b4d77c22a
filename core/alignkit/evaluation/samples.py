"""What a measure receives: the completions that one stage gave to each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignkit.data.example import Text


@dataclass(frozen=True)
class Samples:
    """The completions of one stage, everything as [prompt][sample].

    tokens: ids, end-of-sequence included. finished: ended by itself, not cut at the most tokens. log_ratios:
    log π(y | x) − log π'(y | x) in nats, π the stage and π' the one it is compared against; empty where the
    completions were sampled otherwise than π itself says, at another temperature than 1 or with something cut
    off, so that their mean is no divergence.
    """

    prompts: Sequence[Text]
    completions: Sequence[Sequence[Text]]
    tokens: Sequence[Sequence[Sequence[int]]]
    finished: Sequence[Sequence[bool]]
    log_ratios: Sequence[Sequence[float]]
