"""Renders conversations with a chat template, and tells which characters of the text came from the data and
which from the template.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import count
from typing import Any

from alignkit.errors import UserError
from alignkit.example import BadExample

DATE = datetime(2024, 7, 26)
"""The date that templates are told that write today's, since the same data has the same prompts on any day.
It is the one that Llama 3's template writes where there is no clock."""

SENTINEL = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class Rendered:
    """Text for a model. `spans`: the (start, end) ranges that the data wrote, in order; what lies between is
    the template's.

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
    """The conversation as the chat template writes it, dated `DATE`.

    Raises UserError where the tokenizer has no template, BadExample where the template refuses the
    conversation.
    """
    from jinja2 import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "the data is conversational, but the model's tokenizer has no chat template",
            hint="Use an instruction-tuned model or one with a chat template, or data whose prompts and "
            "completions are plain text.",
        )
    texts = [text for message in messages for field, text in message.items() if field != "role"]
    number = count()
    marked = [
        {field: text if field == "role" else f"\ue000{next(number)}\ue001" for field, text in message.items()}
        for message in messages
    ]
    settings = {
        "tokenize": False,
        "add_generation_prompt": generation_prompt,
        "chat_template": _dated(tokenizer.get_chat_template()),
    }
    try:
        text = tokenizer.apply_chat_template(messages, **settings)
    except TemplateError as error:
        raise BadExample(f"the chat template refuses the conversation: {error}") from error
    try:
        skeleton = tokenizer.apply_chat_template(marked, **settings)
    except TemplateError:
        return Rendered(text, None)  # the template reads the contents, so a stand-in for them tells nothing
    return Rendered(text, _locate(text, skeleton, texts))


@cache
def _dated(template: str) -> str:
    """The template with a `strftime_now` of its own, a macro that knows one day, in front of that which reads
    the clock.

    The one that reads it belongs to all templates, and a function handed to `apply_chat_template` reaches
    none. The template itself is unchanged where it asks for no date; a line of its own for the macro leaves
    white space at its beginning to it.
    """
    if "strftime_now" not in template:
        return template
    written = {f"%{letter}": DATE.strftime(f"%{letter}") for letter in "aAbBcdDeFGHIjmMpRSTuUVwWxXyY"}
    written |= {f"%-{letter}": written[f"%{letter}"].lstrip("0") or "0" for letter in "dHIjmMSUWy"}
    filters = "".join(f" | replace({asked!r}, {said!r})" for asked, said in {**written, "%%": "%"}.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}\n{template}"


def _locate(text: str, skeleton: str, texts: list[str]) -> tuple[tuple[int, int], ...] | None:
    """Where `text` holds each of `texts`: `skeleton` is the same rendering with a mark in the place of each.

    Templates may strip white space around them. None where the text is not the skeleton with its marks filled
    in.
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
