"""Measures a policy's completions for `evaluate`: distance from the reference, length, signs of degeneration.

Each measure gives one number per prompt, the mean over the prompt's completions where nothing else is said:

- kl: log π(y | x) − log π'(y | x) of the policy's own samples, in nats per completion. Its mean is KL(π‖π').
  There is none where samples were drawn at another temperature than 1, or with top_k, top_p or min_p.
- length: tokens of a completion, with end-of-sequence.
- unfinished: share of completions that were cut at the largest number of tokens.
- repetition-4: share of a completion's 4-grams that occurred in it before ("seq-rep-4" of Welleck et al.,
  2019, arXiv:1908.04319).
- distinct-2: distinct 2-grams over all 2-grams of a prompt's completions (Li et al., 2016, arXiv:1510.03055).
"""

from collections.abc import Hashable, Sequence

from alignkit import Samples, hookimpl


@hookimpl
def register_measures(register):
    """Register the five measures, in the order in which tables show them."""
    register("kl", kl, label="KL to the reference", unit="nats per completion", divergence=True)
    register("length", length, label="length", unit="tokens")
    register("unfinished", unfinished, label="unfinished", unit="share of completions")
    register("repetition-4", repetition_4, label="repetition", unit="share of 4-grams")
    register("distinct-2", distinct_2, label="distinct 2-grams", unit="share")


def kl(samples: Samples) -> list[float | None]:
    """Return the mean log-ratio of each prompt's completions; None where there is none."""
    return [_mean(ratios) if ratios else None for ratios in samples.log_ratios]


def length(samples: Samples) -> list[float]:
    """Return the mean number of tokens of each prompt's completions."""
    return [_mean([len(tokens) for tokens in drawn]) for drawn in samples.tokens]


def unfinished(samples: Samples) -> list[float]:
    """Return the share of each prompt's completions that were cut."""
    return [_mean([not finished for finished in drawn]) for drawn in samples.finished]


def repetition_4(samples: Samples) -> list[float]:
    """Return the mean repetition of each prompt's completions."""
    return [_mean([repetition(tokens) for tokens in drawn]) for drawn in samples.tokens]


def distinct_2(samples: Samples) -> list[float | None]:
    """Return the distinctness of each prompt's completions together."""
    return [distinct(drawn) for drawn in samples.tokens]


def repetition(tokens: Sequence[Hashable], n: int = 4) -> float:
    """Return the share of a completion's n-grams that occurred in it before: 1 − distinct ÷ all.

    It is 0 where the completion is shorter than n.
    """
    grams = _grams(tokens, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(completions: Sequence[Sequence[Hashable]], n: int = 2) -> float | None:
    """Return distinct n-grams over all n-grams of the completions; None where all are shorter than n.

    The number falls as the text grows, so compare equal amounts of text.
    """
    grams = [gram for tokens in completions for gram in _grams(tokens, n)]
    return len(set(grams)) / len(grams) if grams else None


def _grams(tokens: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
