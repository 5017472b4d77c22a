"""The one exception for a user's mistakes, and the search for the name that was meant."""

import sys
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class UserError(Exception):
    """A mistake that the user can fix: shown as one message without a traceback, with exit code 2.

    `where` is the place (a file and line, a recipe's key path), `hint` is what to do about it.
    """

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.message, self.where, self.hint = message, where, hint
        super().__init__(f"{where}: {message}" if where else message)

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}\n{self.hint}" if self.hint else text


def nearest(name: str, known: Iterable[str]) -> str:
    """Write a sentence that offers the known name closest to `name`, and lists them all."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    return f"{meant}Known: {', '.join(names) or 'none'}."


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its class where it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def raised_at(error: BaseException, plugin: Any) -> str:
    """Return the file and line of a plugin where an error came from, or the innermost line there is.

    plugin: what the plugin defines, such as a class or a function.
    """
    module = sys.modules.get(getattr(plugin, "__module__", ""))
    file = getattr(module, "__file__", None)
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    return f"{frame.filename}:{frame.lineno}"
