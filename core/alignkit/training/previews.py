"""Keeps what the policy answers to a few fixed prompts while it is trained, to be read side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from alignkit.example import Example, Group, text_of
from alignkit.models.base import Base
from alignkit.progress import Display, counting
from alignkit.run.files import write_text
from alignkit.sampler import Sampler, Sampling
from alignkit.sampling.checking import draw
from alignkit.sampling.decoding import decode
from alignkit.signals import POLICY

TEMPERATURE = 0.5
"""The highest temperature of previews: a small model makes sense at it, and does not yet repeat itself."""


@dataclass(frozen=True)
class PreviewPrompts:
    """The prompts of previews, as text and as tokens. held_out: nothing is trained on them."""

    examples: Sequence[Example]
    groups: Sequence[Group]
    held_out: bool

    def first(self, count: int, room: int | None) -> PreviewPrompts:
        """Return the first different prompts. room: the most tokens of one; None means any number."""
        chosen: dict[tuple[int, ...], int] = {}
        for place, group in enumerate(self.groups):
            if len(chosen) < count and (room is None or len(group.prompt) <= room):
                chosen.setdefault(tuple(group.prompt), place)
        places = chosen.values()
        return PreviewPrompts(
            [replace(self.examples[place], completions=(), columns={}) for place in places],
            [replace(self.groups[place], completions=(), columns={}, masks=None) for place in places],
            self.held_out,
        )


class Previews:
    """Answers of the policy at step 0, every few steps, and at the end, one for each prompt.

    `previews.jsonl` has a line for each: step, prompt, completions, and whether the prompt is held out. Every
    time the same random numbers decide, so that answers differ only where the policy does. Training does not
    notice: nothing is drawn from its random numbers. every: optimizer steps.
    """

    def __init__(
        self,
        sampler: Sampler,
        base: Base,
        prompts: PreviewPrompts,
        sampling: Sampling,
        *,
        every: int,
        file: Path,
        display: Display,
    ) -> None:
        self.sampler, self.base, self.every = sampler, base, every
        self.file, self.display, self.prompts = file, display, prompts
        temperature = min(sampling.temperature, TEMPERATURE)
        self.sampling = replace(sampling, per_prompt=1, temperature=temperature, step=0)

    def begin(self, done: int) -> None:
        """Drop what was written after step `done`, where training goes on; answer before the first step."""
        records = self._records()
        kept = [record for record in records if record["step"] <= done]
        if kept != records:
            self._write(kept)
        if done == 0:
            self.draw(0)

    def is_due(self, done: int) -> bool:
        """Tell whether answers are wanted after a step which is not the last one."""
        return done % self.every == 0

    def draw(self, step: int) -> None:
        """Answer the prompts after optimizer step `step`, unless that was done."""
        records = self._records()
        if not self.prompts.groups or any(record["step"] == step for record in records):
            return
        new = [
            {
                "step": step,
                "prompt": text_of(example.prompt),
                "completions": [text_of(completion) for completion in example.completions],
                "held_out": self.prompts.held_out,
            }
            for example in self._answers()
        ]
        self._write([*records, *new])
        for record in new:
            self.display.brief(f"step {step}", record["prompt"], record["completions"][0])

    def _answers(self) -> list[Example]:
        prompts = [group.prompt for group in self.prompts.groups]
        with torch.random.fork_rng():
            drawn = draw(
                self.sampler, POLICY, prompts, self.sampling, progress=counting(self.display, "previews")
            )
        return decode(self.base, self.prompts.examples, self.prompts.groups, drawn)[0]

    def _records(self) -> list[dict[str, Any]]:
        if not self.file.is_file():
            return []
        with self.file.open(encoding="utf-8") as lines:  # `splitlines` cuts at other characters too
            return [json.loads(line) for line in lines]

    def _write(self, records: list[dict[str, Any]]) -> None:
        write_text(self.file, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
