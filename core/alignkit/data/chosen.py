"""Chooses the few completions of some data on which two models' log-probabilities are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alignkit.data.order import epoch_order
from alignkit.example import Group

MOST = 32
"""Completions at most: a difference of a few hundredths of a nat per token shows on them."""

TOKENS, PROMPT_TOKENS = 4_000, 8_000
"""Tokens at most of the completions, and of their prompts: seconds of work on a CPU, for a small base."""


@dataclass(frozen=True)
class Chosen:
    """Groups of one completion each. of: `completions`; or `prompts` where the data has no completions.

    Then the completion of a group is a prompt of the data without its first token.
    """

    groups: tuple[Group, ...]
    of: str

    @property
    def tokens(self) -> list[int]:
        """Count the tokens of each completion that a policy wrote."""
        return [
            len(group.completions[0]) if group.masks is None else sum(group.masks[0]) for group in self.groups
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "of": self.of,
            "groups": [
                {
                    "prompt": group.prompt,
                    "completion": group.completions[0],
                    "mask": None if group.masks is None else list(group.masks[0]),
                }
                for group in self.groups
            ],
        }

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> Chosen:
        """Return what `to_dict` gave."""
        return Chosen(
            tuple(
                Group(
                    group["prompt"],
                    (group["completion"],),
                    masks=None if group["mask"] is None else (tuple(group["mask"]),),
                )
                for group in raw["groups"]
            ),
            raw["of"],
        )


def choose_completions(groups: Sequence[Group]) -> Chosen:
    """Choose up to `MOST` completions, one of a group, in an order that the number of groups decides.

    The first is always chosen; the choice ends where the next would exceed `TOKENS` or `PROMPT_TOKENS`. Of
    several completions of a group the place in the order decides.
    """
    of = "completions" if any(group.completions for group in groups) else "prompts"
    found: list[Group] = []
    room, prompt_room = TOKENS, PROMPT_TOKENS
    for place in epoch_order(0, 0, len(groups)):
        group = _one(groups[place], len(found), of)
        if group is None:
            continue
        room -= len(group.completions[0])
        prompt_room -= len(group.prompt)
        if len(found) == MOST or (found and min(room, prompt_room) < 0):
            break
        found.append(group)
    return Chosen(tuple(found), of)


def _one(group: Group, number: int, of: str) -> Group | None:
    """Return a group with one completion, without what a comparison does not read; None where it has none."""
    if of == "prompts":
        return Group(group.prompt[:1], (group.prompt[1:],)) if len(group.prompt) > 1 else None
    if not group.completions:
        return None
    chosen = group.select([number % len(group.completions)])
    if chosen.masks is not None and not any(chosen.masks[0]):
        return None
    return replace(Group(chosen.prompt, chosen.completions), masks=chosen.masks)
