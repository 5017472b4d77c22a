"""Measures of a policy's completions, for `evaluate`: distance to the reference, length, and signs of
degeneration.

kl           log π(y | x) − log π'(y | x) of the policy's own samples, whose mean is KL(π‖π'), in nats a
completion; none of samples at another temperature than 1 or with something cut off length       tokens of a
completion, end-of-sequence included repetition-4 share of 4-grams that occurred before in the completion
(Welleck et al., 2019, arXiv:1908.04319, "seq-rep-4") distinct-2   distinct 2-grams over all 2-grams of a
prompt's completions (Li et al., 2016, arXiv:1510.03055) unfinished   share of completions cut at the most
tokens, without an end-of-sequence
"""

from collections.abc import Hashable, Sequence

from alignkit import hookimpl


@hookimpl
def register_measures(register):
    """Register all of them."""
    register("kl", lambda samples: [_mean(ratios) if ratios else None for ratios in samples.log_ratios])
    register("length", lambda samples: [_mean([len(tokens) for tokens in drawn]) for drawn in samples.tokens])
    register(
        "repetition-4",
        lambda samples: [_mean([repetition(tokens) for tokens in drawn]) for drawn in samples.tokens],
    )
    register("distinct-2", lambda samples: [distinct(drawn) for drawn in samples.tokens])
    register(
        "unfinished",
        lambda samples: [_mean([not finished for finished in drawn]) for drawn in samples.finished],
    )


def repetition(tokens: Sequence[Hashable], n: int = 4) -> float:
    """The share of a completion's n-grams that occurred in it before: 1 − distinct ÷ all; 0 where it is
    shorter than n.
    """
    grams = _grams(tokens, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(completions: Sequence[Sequence[Hashable]], n: int = 2) -> float | None:
    """Distinct n-grams over all n-grams of all the completions; None where none is as long as n.

    It falls as the text grows: compare equal amounts.
    """
    grams = [gram for tokens in completions for gram in _grams(tokens, n)]
    return len(set(grams)) / len(grams) if grams else None


def _grams(tokens: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
