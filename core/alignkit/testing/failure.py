"""Tells the author of an objective what is wrong with it."""

from __future__ import annotations

from typing import NoReturn

from alignkit.objective import Objective


def fail(objective: Objective, text: str, cause: Exception | None = None) -> NoReturn:
    """Raise AssertionError with the name of the objective's class and `text`, caused by `cause`."""
    raise AssertionError(f"{type(objective).__name__}: {text}") from cause
