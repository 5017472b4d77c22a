"""Recognises the token that completes a stop string, decoding only the newest tokens of a sample."""

from __future__ import annotations

from collections.abc import Callable

UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # how tokenizers decode bytes of a character that is not whole yet


class StopWatch:
    """Follows one sample, token by token. A stop string may straddle tokens, begin or end within one."""

    def __init__(self, stops: tuple[str, ...], text: Callable[[list[int]], str]) -> None:
        self.stops, self.text = stops, text
        self.longest = max(map(len, stops))
        self.window: list[int] = []  # the newest tokens
        self.seen = 0  # characters of the window's text in which every stop string has been looked for

    def completes(self, token: int) -> bool:
        """Take in the next token; whether a stop string ends in the text it adds."""
        self.window.append(token)
        text = self.text(self.window).rstrip(UNFINISHED)
        found = any(text.find(stop, max(0, self.seen - len(stop) + 1)) >= 0 for stop in self.stops)
        self.seen = max(self.seen, len(text))
        if len(self.window) >= 2 * self.longest + 16:
            self._shorten(text)
        return found

    def _shorten(self, text: str) -> None:
        """Keep the last tokens alone where their text is the end of the window's: not so within a character
        of several tokens.
        """
        newest = self.window[-self.longest - 8 :]
        end = self.text(newest)
        if len(end) >= self.longest and text.endswith(end):
            self.window, self.seen = newest, len(end)
