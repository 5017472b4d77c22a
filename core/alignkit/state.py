"""Defines the numbers that a plugin remembers between steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

from alignkit.errors import UserError


class State(MutableMapping[str, float]):
    """Numbers by name, which checkpoints carry. They can be locked for a while.

    Raises UserError where anything but a number is written, and where something is written while it is
    locked.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, float] = {}
        self._lock: tuple[str, str] | None = None

    def __getitem__(self, name: str) -> float:
        return self._numbers[name]

    def __setitem__(self, name: str, value: float) -> None:
        self._require_unlocked(name)
        if not isinstance(value, int | float):
            raise UserError(
                f"state[{name!r}] is a {type(value).__name__}; checkpoints hold numbers",
                hint=f"Keep a number: self.state[{name!r}] = float(…).",
            )
        self._numbers[name] = value

    def __delitem__(self, name: str) -> None:
        self._require_unlocked(name)
        del self._numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return repr(self._numbers)

    def replace(self, numbers: Mapping[str, float]) -> None:
        """Remember `numbers` and nothing else."""
        self.clear()
        self.update(numbers)

    @contextmanager
    def locked(self, method: str, hint: str) -> Iterator[None]:
        """Refuse every change for a while. method: what is running. hint: where the state may be written."""
        before, self._lock = self._lock, (method, hint)
        try:
            yield
        finally:
            self._lock = before

    def _require_unlocked(self, name: str) -> None:
        if self._lock is not None:
            method, hint = self._lock
            raise UserError(f"state[{name!r}] is changed in `{method}`, where it can only be read", hint=hint)
