"""Writes completions as rows that later stages read."""

from __future__ import annotations

from typing import Any

from alignkit.example import Example


def as_row(example: Example, **more: Any) -> dict[str, Any]:
    """Return an example as a row with the columns `prompt` and `completions`, and its other columns."""
    finished = {}
    if "finished" in example.columns:
        finished = {"finished": [bool(value) for value in example.columns["finished"]]}
    return {
        **example.extra,
        "prompt": example.prompt,
        "completions": list(example.completions),
        **finished,
        **more,
    }
