"""Finds the tokens at which the steps of a sampled completion end.

They are those of data of the kind Stepwise: a step's last token holds the separator behind it, and that of
the last step is the completion's last token. A blank step counts as a part of the next one, or of the last.
"""

from __future__ import annotations

from functools import partial

from alignkit.example import Group
from alignkit.rewards.placing import Decode, token_at
from alignkit.rewards.scoring import TextOf


def step_end(ids: list[int], group: Group, separator: str, text: TextOf) -> list[float]:
    """Return (T,) for a completion of `group`: 1 at the last token of each step, 0 elsewhere."""
    decode = partial(text, after=group.prompt) if isinstance(group.text, str) else text
    found = [0.0] * len(ids)
    for end in ends_of_steps(ids, separator, decode):
        found[end] = 1.0
    return found


def ends_of_steps(ids: list[int], separator: str, text: Decode) -> list[int]:
    """Return the places, in order, of the last tokens of the steps of a completion of the tokens `ids`."""
    pieces = text(ids).split(separator)
    ends, at, said = set(), 0, False
    for number, piece in enumerate(pieces[:-1], start=1):
        at += len(piece) + len(separator)
        said = said or bool(piece.strip())
        if said and any(later.strip() for later in pieces[number:]):
            ends.add(token_at(at, ids, text))
            said = False
    return sorted({*ends, len(ids) - 1})
