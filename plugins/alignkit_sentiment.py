"""Defines the reward `sentiment`: how positive a completion reads, from -1 to 1, by VADER's rules.

Source: Hutto, C. J. and Gilbert, E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
Social Media Text. Proceedings of the International AAAI Conference on Web and Social Media, 8(1), 216-225.

The score is the paper's compound: s / sqrt(s² + 15), where s is the sum of the valences of a text's words.
The prompt is not scored.

Deviation: the valences come from `nltk-vader-sentiment`, a reimplementation that corrects known mistakes of
the original program.
"""

from __future__ import annotations

from typing import Any, ClassVar

from alignkit import Reward, hookimpl, text_of


class Sentiment(Reward):
    """Gives VADER's compound of each completion, in [-1, 1]; None where a completion is empty."""

    name: ClassVar[str] = "sentiment"

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return one compound per completion; a conversation's messages are read as one text."""
        from vader import polarity_scores

        texts = [text_of(completion) for completion in completions]
        return [polarity_scores(text)["compound"] if text.strip() else None for text in texts]


@hookimpl
def register_rewards(register: Any) -> None:
    """Register the reward `sentiment`."""
    register(Sentiment)
