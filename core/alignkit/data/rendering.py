"""Renders conversations with a chat template, and tells which characters came from the data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import compress, count
from typing import Any

from alignkit.errors import UserError
from alignkit.example import BadExample

DATE = datetime(2024, 7, 26)
"""The date that is given to templates that write today's date.

It is fixed, so that the same data gives the same prompts on any day. Llama 3's template writes this date
where there is no clock.
"""

SENTINEL = re.compile("\ue000(\\d+)\ue001")
"""The mark that stands for the text of a message's field, with the number of the text. Its first and last
characters are of Unicode's private use area, which ordinary text does not use.
"""


@dataclass(frozen=True)
class Rendered:
    """Text for a model, with the places of the data in it.

    spans: the (start, end) ranges that came from the data, in order. All other characters came from the
    template. None means that the template changed the data's text, so that its places are unknown. owners:
    for each span the number of its message in the conversation; empty for plain text.
    """

    text: str
    spans: tuple[tuple[int, int], ...] | None
    owners: tuple[int, ...] = ()

    def cut(self, start: int, end: int) -> Rendered:
        """Return the characters from `start` to `end`, with the places of the data in them."""
        if self.spans is None:
            return Rendered(self.text[start:end], None)
        inside = [b > start and a < end for a, b in self.spans]
        spans = ((max(a, start) - start, min(b, end) - start) for a, b in compress(self.spans, inside))
        return Rendered(self.text[start:end], tuple(spans), tuple(compress(self.owners, inside)))


def render(tokenizer: Any, messages: list[dict[str, Any]], *, generation_prompt: bool) -> Rendered:
    """Write the conversation with the tokenizer's chat template, with `DATE` as today's date.

    generation_prompt: also write what begins the assistant's next turn. Raises UserError where the tokenizer
    has no template, and BadExample where the template refuses the conversation.
    """
    from jinja2 import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "the data is conversational, but the model's tokenizer has no chat template",
            hint="Use an instruction-tuned model or one with a chat template, or data whose prompts and "
            "completions are plain text.",
        )
    fields = [
        (place, text)
        for place, message in enumerate(messages)
        for field, text in message.items()
        if field != "role"
    ]
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
        return Rendered(text, None)  # the template depends on the contents, so marks cannot replace them
    return _located(text, skeleton, fields)


@cache
def _dated(template: str) -> str:
    """Return the template with a macro `strftime_now` before it, which formats `DATE`.

    The macro hides the function `strftime_now` of `transformers`, which reads the clock. That function cannot
    be replaced otherwise: all templates share it, and a function that is passed to `apply_chat_template` does
    not reach the template. The macro has a line of its own, so that it does not change the white space at the
    template's beginning. A template that asks for no date is returned unchanged.
    """
    if "strftime_now" not in template:
        return template
    written = {f"%{letter}": DATE.strftime(f"%{letter}") for letter in "aAbBcdDeFGHIjmMpRSTuUVwWxXyY"}
    written |= {f"%-{letter}": written[f"%{letter}"].lstrip("0") or "0" for letter in "dHIjmMSUWy"}
    filters = "".join(f" | replace({asked!r}, {said!r})" for asked, said in {**written, "%%": "%"}.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}\n{template}"


def _located(text: str, skeleton: str, fields: list[tuple[int, str]]) -> Rendered:
    """Return `text` with the place of each field of a message in it.

    fields: the number of each field's message, and the field's text. `skeleton` is the same rendering with a
    mark in place of each field. The template may have stripped white space around a field. The places are
    unknown where filling in the marks does not give `text`.
    """
    parts = SENTINEL.split(skeleton)  # template, index, template, index, …, template
    if not text.startswith(parts[0]):
        return Rendered(text, None)
    at, spans, owners = len(parts[0]), [], []
    for index, following in zip(parts[1::2], parts[2::2], strict=True):
        owner, raw = fields[int(index)]
        for written in (raw, raw.strip(), raw.lstrip(), raw.rstrip()):
            if text.startswith(written + following, at):
                spans.append((at, at + len(written)))
                owners.append(owner)
                at += len(written) + len(following)
                break
        else:
            return Rendered(text, None)
    return Rendered(text, tuple(spans), tuple(owners)) if at == len(text) else Rendered(text, None)
