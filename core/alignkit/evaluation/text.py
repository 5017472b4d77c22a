"""Measures of degenerate text, over token ids or words."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def repetition(tokens: Sequence[Hashable], n: int = 4) -> float:
    """The share of a completion's n-grams that occurred in it before: 1 − distinct ÷ all; 0 where it is shorter than n.

    Welleck et al., 2019, arXiv:1908.04319, "seq-rep-n".
    """
    grams = _grams(tokens, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(completions: Sequence[Sequence[Hashable]], n: int = 2) -> float:
    """Distinct n-grams over all n-grams of all the completions; 0 where none is as long as n.

    Li et al., 2016, arXiv:1510.03055, "distinct-n". It falls as the text grows: compare equal amounts.
    """
    grams = [gram for tokens in completions for gram in _grams(tokens, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _grams(tokens: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
