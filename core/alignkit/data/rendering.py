"""Renders conversations with a chat template, and tells which characters of the text came from the data and which from the template."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from typing import Any

from alignkit.data.example import BadExample
from alignkit.errors import UserError

SENTINEL = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class Rendered:
    """Text for a model. `spans`: the (start, end) ranges that the data wrote, in order; what lies between is the template's.

    `spans` is None where the template changed the data's text so that its place is unknown.
    """

    text: str
    spans: tuple[tuple[int, int], ...] | None

    def cut(self, start: int, end: int) -> Rendered:
        """The characters from `start` to `end`."""
        if self.spans is None:
            return Rendered(self.text[start:end], None)
        spans = ((max(a, start) - start, min(b, end) - start) for a, b in self.spans if b > start and a < end)
        return Rendered(self.text[start:end], tuple(spans))


def render(tokenizer: Any, messages: list[dict[str, Any]], *, generation_prompt: bool) -> Rendered:
    """The conversation as the chat template writes it.

    Raises UserError where the tokenizer has no template, BadExample where the template refuses the conversation.
    """
    from jinja2 import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "the data is conversational, but the model's tokenizer has no chat template",
            hint="Use an instruction-tuned model or one with a chat template, or data whose prompts and completions are plain text.",
        )
    texts = [text for message in messages for field, text in message.items() if field != "role"]
    number = count()
    marked = [
        {field: text if field == "role" else f"\ue000{next(number)}\ue001" for field, text in message.items()} for message in messages
    ]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation_prompt)
    except TemplateError as error:
        raise BadExample(f"the chat template refuses the conversation: {error}") from error
    try:
        skeleton = tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=generation_prompt)
    except TemplateError:
        return Rendered(text, None)  # the template reads the contents, so a stand-in for them tells nothing
    return Rendered(text, _locate(text, skeleton, texts))


def _locate(text: str, skeleton: str, texts: list[str]) -> tuple[tuple[int, int], ...] | None:
    """Where `text` holds each of `texts`: `skeleton` is the same rendering with a mark in the place of each.

    Templates may strip white space around them. None where the text is not the skeleton with its marks filled in.
    """
    parts = SENTINEL.split(skeleton)  # template, index, template, index, …, template
    if not text.startswith(parts[0]):
        return None
    at, spans = len(parts[0]), []
    for index, following in zip(parts[1::2], parts[2::2], strict=True):
        raw = texts[int(index)]
        for written in (raw, raw.strip(), raw.lstrip(), raw.rstrip()):
            if text.startswith(written + following, at):
                spans.append((at, at + len(written)))
                at += len(written) + len(following)
                break
        else:
            return None
    return tuple(spans) if at == len(text) else None
