"""Splits data into a part for training and a part that is held out, by prompt."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from alignkit.data.loading import Dataset
from alignkit.errors import UserError
from alignkit.example import text_of


def split_held_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return the data in two parts, with about `share` of its prompts held out in the second part.

    No prompt is on both sides, as text or as tokens. Both parts keep the order and the report.

    Each prompt is drawn by itself, as a function of (seed, text). A prompt therefore falls on the same side
    in every stage of a recipe, whatever rows a stage leaves out, and a larger share holds out all that a
    smaller share does. Two things can move a prompt: prompts that truncation made equal stay together; and
    where all prompts fall on one side, the prompt nearest to the other side goes there.

    Raises UserError where `share` is not between 0 and 1, or where there are fewer than two different
    prompts.
    """
    if not 0 < share < 1:
        raise UserError(f"the held-out share lies between 0 and 1, found {share}", where="held_out")
    prompts = _representatives(dataset)
    drawn = {text: _draw(seed, text) for text in prompts}
    if len(drawn) < 2:
        raise UserError(
            "a share of one prompt cannot be held out",
            where="held_out",
            hint="Give more data, or held-out data of its own.",
        )
    held = {text for text in drawn if drawn[text] < share} or {min(drawn, key=drawn.__getitem__)}
    if len(held) == len(drawn):
        held.remove(max(drawn, key=drawn.__getitem__))
    return (
        _part(dataset, [text not in held for text in prompts]),
        _part(dataset, [text in held for text in prompts]),
    )


def _draw(seed: int, text: str) -> float:
    """Return a number that is uniform in [0, 1), from the seed and the text alone."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\n{text}".encode(), digest_size=8).digest()) / 2**64


def _representatives(dataset: Dataset) -> list[str]:
    """Return, for each group, the text that stands for its prompt.

    Prompts with the same text belong together, and so do prompts with the same tokens. This forms chains: the
    first and the last prompt of a chain may share neither. A union-find follows the chains in one pass over
    the data. In it each text points to a smaller text of its chain, and the smallest text, which stands for
    all, points to itself.
    """
    texts = [text_of(example.prompt).strip() for example in dataset.examples]
    smaller = {text: text for text in texts}
    first: dict[tuple[int, ...], str] = {}  # the first text that has these tokens

    def smallest(text: str) -> str:
        while smaller[text] != text:
            smaller[text] = smaller[smaller[text]]  # makes the chain shorter for the next call
            text = smaller[text]
        return text

    for text, group in zip(texts, dataset.groups, strict=True):
        one, other = sorted((smallest(text), smallest(first.setdefault(tuple(group.prompt), text))))
        smaller[other] = one
    return [smallest(text) for text in texts]


def _part(dataset: Dataset, keep: list[bool]) -> Dataset:
    pick = [index for index, kept in enumerate(keep) if kept]
    return replace(
        dataset,
        examples=[dataset.examples[index] for index in pick],
        groups=[dataset.groups[index] for index in pick],
    )
