"""What a preference can be guessed from without reading it: the longer completion is preferred."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from alignkit.example import Group


def length_only_accuracy(groups: Sequence[Group]) -> float | None:
    """Share of pairs whose better completion has more tokens (equal lengths count half), each prompt once;
    None without ranks.
    """
    shares = []
    for group in groups:
        rank = group.columns.get("rank", ())
        pairs = [(i, j) for i, j in permutations(range(len(rank)), 2) if rank[i] < rank[j]]
        if pairs:
            gaps = [len(group.completions[i]) - len(group.completions[j]) for i, j in pairs]
            shares.append(sum(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps) / len(pairs))
    return sum(shares) / len(shares) if shares else None
