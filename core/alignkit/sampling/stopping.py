"""Recognizes the token that completes a stop string, while it decodes only the newest tokens of a sample."""

from __future__ import annotations

from collections.abc import Callable

UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what tokenizers make of an incomplete character
# tokens kept besides one for each character of the longest stop string: some characters take several tokens
SPARE = 8


class StopWatch:
    """Follows one sample, token by token. A stop string may span tokens, and begin or end within a token."""

    def __init__(self, stops: tuple[str, ...], text: Callable[[list[int]], str]) -> None:
        self.stops, self.text = stops, text
        self.longest = max(map(len, stops))
        self.window: list[int] = []  # the newest tokens
        self.seen = 0  # characters of the window's text in which every stop string has been looked for

    def completes(self, token: int) -> bool:
        """Take in the next token; return whether a stop string ends in the text that it adds."""
        self.window.append(token)
        text = self.text(self.window).rstrip(UNFINISHED)
        found = any(text.find(stop, max(0, self.seen - len(stop) + 1)) >= 0 for stop in self.stops)
        self.seen = max(self.seen, len(text))
        if len(self.window) >= 2 * (self.longest + SPARE):
            self._shorten(text)
        return found

    def _shorten(self, text: str) -> None:
        """Keep only the last tokens, where their text is the end of the window's text.

        It is not where they begin within a character of several tokens; then the window stays as it is.
        """
        newest = self.window[-self.longest - SPARE :]
        end = self.text(newest)
        if len(end) >= self.longest and text.endswith(end):
            self.window, self.seen = newest, len(end)
