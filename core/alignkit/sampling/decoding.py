"""Turns sampled tokens into completions, as text and as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alignkit.example import Example, Group
from alignkit.models.base import Base
from alignkit.sampler import Drawn


def decode(
    base: Base, examples: Sequence[Example], groups: Sequence[Group], drawn: Sequence[Sequence[Drawn]]
) -> tuple[list[Example], list[Group]]:
    """Return the prompts with their sampled completions, as text and as tokens.

    examples, groups: the same prompts as text and as tokens. drawn: the completions of each prompt. The
    column `finished` of both says whether a completion ended by itself. Completions of a conversation are
    messages of the assistant.
    """
    texts, tokens = [], []
    for example, group, samples in zip(examples, groups, drawn, strict=True):
        finished = {"finished": tuple(float(sample.finished) for sample in samples)}
        if isinstance(example.prompt, str):
            completions = tuple(base.text(sample.tokens, after=group.prompt) for sample in samples)
        else:
            said = (base.text(sample.tokens) for sample in samples)
            completions = tuple([{"role": "assistant", "content": text}] for text in said)
        texts.append(replace(example, completions=completions, columns=finished))
        tokens.append(
            replace(group, completions=tuple(sample.tokens for sample in samples), columns=finished)
        )
    return texts, tokens
