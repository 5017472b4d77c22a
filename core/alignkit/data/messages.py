"""Reads a cell as text or as a conversation, and compares what texts say."""

from __future__ import annotations

from typing import Any

from alignkit.example import BadExample, Text

CHAT_ROLES = ("system", "developer", "user", "assistant", "tool")


def read_text(cell: Any, column: str) -> Text:
    """Return the cell as text, or as a list of messages, each with at least `role` and `content`.

    A message's fields that hold null, an empty list or an empty mapping are left out. Raises BadExample for a
    cell of another type, for an unknown role, for a field that is not text, and for half a surrogate pair.
    """
    if isinstance(cell, str):
        return _whole(cell)
    if isinstance(cell, (list, tuple)):
        return [_message(message) for message in cell]
    raise BadExample(
        f"{column!r} is missing" if cell is None else f"{column!r} is neither text nor a list of messages"
    )


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise BadExample("a message is not a mapping of role and content")
    if message.get("role") not in CHAT_ROLES:
        raise BadExample(f"a message's role is none of {', '.join(CHAT_ROLES)}")
    if not isinstance(message.get("content"), str):
        raise BadExample("a message's content is not text")
    fields = {name: value for name, value in message.items() if value is not None and value not in ([], {})}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise BadExample(f"a message's field {name!r} is not text")
        _whole(value)
    return fields


def _whole(text: str) -> str:
    """Return the text. Raises BadExample where it cannot be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadExample("text holds half a surrogate pair, which is no character") from None
    return text


def speech(text: Text) -> tuple[tuple[str, str], ...]:
    """Return what is said and by whom, without white space around it, to find equal texts."""
    if isinstance(text, str):
        return (("", text.strip()),)
    return tuple((message["role"], message["content"].strip()) for message in text)


def is_blank(text: Text) -> bool:
    """Tell whether the text, or every message of the conversation, is blank."""
    return not any(content for _, content in speech(text))
