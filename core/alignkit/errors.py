"""The one exception for a user's mistakes, the name that was meant, and the place where a plugin failed."""

import inspect
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from traceback import walk_tb
from typing import Any

CORE = str(Path(__file__).parent)
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


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


def raised_at(error: BaseException, plugin: Any = None) -> str:
    """Return the file and line, such as `mine.py:12`, at which the code of a plugin raised `error`.

    plugin: a function, class, object or module of the plugin. The innermost call in its file counts, also
    where a library that it calls raised the error. None means the innermost call outside of alignkit and of
    installed packages.
    """
    if plugin is None and isinstance(error, SyntaxError) and error.filename:  # of the plugin's own file
        return f"{_short(error.filename)}:{error.lineno}"
    calls = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    known, defined = _place_of(plugin)
    own = [call for call in calls if call[0] == known]
    others = [call for call in calls if not call[0].startswith((CORE, "<"))]
    written = [call for call in others if not call[0].startswith(INSTALLED)]
    at_all = [(known, defined)] if known else calls  # called in a wrong way, it never began
    for candidates in (own, written, others[:1], at_all):
        if candidates:
            file, line = candidates[-1]
            return f"{_short(file)}:{line}"
    return "an unknown place"


@contextmanager
def plugin_errors(what: str, plugin: Any, *, where: str | None, hint: str) -> Iterator[None]:
    """Turn what the code of a plugin raises within this context into a UserError.

    It says `what` went wrong, the error, and the plugin's file and line, see `raised_at`. A UserError that
    the plugin raised stays as it is.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{what}: {type(error).__name__}: {error} ({raised_at(error, plugin)})", where=where, hint=hint
        ) from error


def named(kind: str, name: str, plugin: str = "") -> str:
    """Write what is meant for a message: `reward 'mine' of plugin 'my-plugin'`."""
    return f"{kind} {name!r} of plugin {plugin!r}" if plugin else f"{kind} {name!r}"


def _place_of(plugin: Any) -> tuple[str | None, int]:
    """Return the file and line at which a function, the class of an object, or a module is defined."""
    while isinstance(plugin, partial):
        plugin = plugin.func
    if plugin is None:
        return None, 0
    if not (inspect.isroutine(plugin) or isinstance(plugin, type) or inspect.ismodule(plugin)):
        plugin = type(plugin)
    plugin = plugin if inspect.ismodule(plugin) else inspect.unwrap(plugin)
    try:
        return inspect.getsourcefile(plugin), inspect.getsourcelines(plugin)[1]
    except (TypeError, OSError):  # built in, or its source is not there
        return None, 0


def _short(file: str) -> str:
    """Write a file's name; of a package's `__init__.py`, with the package."""
    path = Path(file)
    return f"{path.parent.name}/{path.name}" if path.name == "__init__.py" else path.name
