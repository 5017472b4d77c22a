"""Finds preference pairs that contradict an earlier pair of the same prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from alignkit.data.messages import speech
from alignkit.example import BadExample, Example


@dataclass
class Contradictions:
    """Remembers, for each prompt, which completion was preferred to which other.

    seen: a digest of each (prompt, better completion, worse completion), which needs less memory than text.
    """

    seen: set[bytes] = field(default_factory=set)

    def check(self, example: Example) -> None:
        """Remember the example's pairs.

        Raises BadExample, and remembers nothing, where an earlier example ordered one of them the other way
        round.
        """
        if "rank" not in example.columns or len(example.completions) < 2:
            return
        prompt, ranks = speech(example.prompt), example.columns["rank"]
        said = [speech(completion) for completion in example.completions]
        ordered = [(a, b) for a in range(len(said)) for b in range(len(said)) if ranks[a] < ranks[b]]
        if any(_digest(prompt, said[b], said[a]) in self.seen for a, b in ordered):
            raise BadExample("contradicts an earlier pair of the same prompt")
        self.seen.update(_digest(prompt, said[a], said[b]) for a, b in ordered)


def _digest(*speeches: tuple[tuple[str, str], ...]) -> bytes:
    return blake2b(repr(speeches).encode(), digest_size=16).digest()
