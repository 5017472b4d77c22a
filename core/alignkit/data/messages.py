"""Reads a cell as text or as a conversation, and refuses what a chat template could not be trusted with."""

from __future__ import annotations

from typing import Any

from alignkit.example import BadExample, Text

CHAT_ROLES = ("system", "developer", "user", "assistant", "tool")


def read_text(cell: Any, column: str) -> Text:
    """The cell as text or a list of messages, each with at least `role` and `content`; fields that are null
    are left out.

    Raises BadExample for anything else, for an unknown role, for content that is not text, and for half a
    surrogate pair.
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
    said = {name: value for name, value in message.items() if value is not None and value not in ([], {})}
    for name, value in said.items():
        if not isinstance(value, str):
            raise BadExample(f"a message's field {name!r} is not text")
        _whole(value)
    return said


def _whole(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadExample("text holds half a surrogate pair, which is no character") from None
    return text


def speech(text: Text) -> tuple[tuple[str, str], ...]:
    """What is said and by whom, white space around it left out: texts that differ in no more are the same."""
    if isinstance(text, str):
        return (("", text.strip()),)
    return tuple((message["role"], message["content"].strip()) for message in text)


def is_blank(text: Text) -> bool:
    """Whether nothing at all is said."""
    return not any(content for _, content in speech(text))
