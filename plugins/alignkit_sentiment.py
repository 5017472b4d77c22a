"""The reward `sentiment`: how positive a completion reads, from -1 to 1, by VADER's lexicon and rules.

    Hutto, C. J. and Gilbert, E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
    Social Media Text. Proceedings of the International AAAI Conference on Web and Social Media, 8(1),
    216-225.

The score is the paper's compound: the summed valences s of a text's words as s / sqrt(s² + 15). The prompt is
not scored. Deviation: the words come from `nltk-vader-sentiment`, a reimplementation that mends known
mistakes of the original program.
"""

from __future__ import annotations

from typing import Any, ClassVar

from alignkit import Reward, hookimpl, text_of


class Sentiment(Reward):
    """VADER's compound of each completion, in [-1, 1]; None where a completion is empty."""

    name: ClassVar[str] = "sentiment"

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """One compound a completion; of a conversation, the compound of its messages read as one text."""
        from vader import polarity_scores

        texts = [text_of(completion) for completion in completions]
        return [polarity_scores(text)["compound"] if text.strip() else None for text in texts]


@hookimpl
def register_rewards(register: Any) -> None:
    """Register the reward `sentiment`."""
    register(Sentiment)
