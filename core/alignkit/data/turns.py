"""Writes a prompt and a completion as one text, and tells which characters of it the policy wrote.

A completion may hold turns that are not the policy's: a tool's, a user's. The policy wrote the assistant's
turns: what follows the header that opens a turn, up to the mark that ends it. The template writes the header
of each turn, and where the policy is sampled the engine does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alignkit.data.encoding import Encoder, Place
from alignkit.data.rendering import Rendered, render
from alignkit.example import BadExample, Text


@dataclass(frozen=True)
class Written:
    """A prompt with a completion as one text.

    whole: the text, up to the end of the completion. start: where the completion begins. marked: the template
    ends it with a mark. policy: the places that the policy wrote; None means all of the completion.
    """

    whole: Rendered
    start: int
    marked: bool = False
    policy: tuple[Place, ...] | None = None

    @property
    def part(self) -> Rendered:
        """Return the completion's part of the text."""
        return self.whole.cut(self.start, len(self.whole.text))


class Turns:
    """Writes conversations with the chat template of a tokenizer, and plain text as it is."""

    def __init__(self, tokenizer: Any, encoder: Encoder) -> None:
        self.tokenizer, self.encoder = tokenizer, encoder

    def open(self, prompt: Text) -> Rendered:
        """Write the prompt, with what begins the assistant's turn."""
        return (
            Rendered(prompt, ((0, len(prompt)),))
            if isinstance(prompt, str)
            else self._render(prompt, generation_prompt=True)
        )

    def close(self, prompt: Text, opened: Rendered, completion: Text, *, ended: bool = True) -> Written:
        """Write the prompt, which `open` gave as `opened`, with a completion.

        A conversation ends where the assistant's last turn does, or with its last content where the
        completion was cut off there, that is, not `ended`. Raises BadExample where the template does not
        write the prompt in the same way, and where it hides which turns of a completion are the policy's.
        """
        if isinstance(prompt, str) and isinstance(completion, str):
            return Written(Rendered(prompt + completion, ((0, len(prompt + completion)),)), len(prompt))
        if isinstance(prompt, str) or isinstance(completion, str):
            raise BadExample("the prompt and its completions are not all text or all conversations")
        rendered = self._render([*prompt, *completion], generation_prompt=False)
        start = len(opened.text)
        if not rendered.text.startswith(opened.text):
            raise BadExample("the chat template writes the prompt in another way when a completion follows")
        end = self._end_of_turn(rendered, start)
        whole = rendered.cut(0, end)
        policy = self._policy(prompt, completion, whole, start) if len(completion) > 1 else None
        if not ended and rendered.spans is not None:
            whole = whole.cut(0, _last_said(whole, start))
        return Written(whole, start, self._ends_in_mark(whole, start), policy)

    def _render(self, messages: list[dict[str, Any]], *, generation_prompt: bool) -> Rendered:
        """Render messages. Raises BadExample for a special token in the data whose place is unknown."""
        rendered = render(self.tokenizer, messages, generation_prompt=generation_prompt)
        texts = (text for message in messages for field, text in message.items() if field != "role")
        if rendered.spans is None and any(self.encoder.spells_special(text) for text in texts):
            raise BadExample("spells out a special token, in a conversation that the chat template rewrites")
        return rendered

    def _end_of_turn(self, whole: Rendered, start: int) -> int:
        """Return the index where the completion that begins at `start` ends.

        It ends after the first mark that the template writes behind the last content. Where there is no mark,
        or the places of the contents are unknown, only white space at the end is left out.
        """
        if whole.spans is None:
            return max(start, len(whole.text.rstrip()))
        said = _last_said(whole, start)
        mark = self.encoder.marks.search(whole.text, said)
        return mark.end() if mark else said + len(whole.text[said:].rstrip())

    def _ends_in_mark(self, whole: Rendered, start: int) -> bool:
        """Tell whether the text ends with a mark that the template wrote."""
        said = _last_said(whole, start)
        return any(mark.end() == len(whole.text) for mark in self.encoder.marks.finditer(whole.text, said))

    def _policy(
        self, prompt: list[dict[str, Any]], completion: list[dict[str, Any]], whole: Rendered, start: int
    ) -> tuple[Place, ...]:
        """Return the places of the assistant's turns in a completion of several messages.

        A turn begins where the template's header for sampling it ends, or with its text where the template
        would write the turns before it in another way. It ends as the last turn does; where other text
        follows, it ends with its own.
        """
        if whole.spans is None:
            raise BadExample("the chat template rewrites the conversation, so its turns cannot be told apart")
        ending = whole.text[_last_said(whole, start) :]
        places = []
        for number, message in enumerate(completion):
            spans = [
                span
                for span, owner in zip(whole.spans, whole.owners, strict=True)
                if owner == len(prompt) + number and span[0] >= start
            ]
            if message["role"] != "assistant" or not spans:
                continue
            said = spans[-1][1]
            begin = self._begin([*prompt, *completion[:number]], whole, spans[0][0]) if number else start
            places.append((begin, said + len(ending) * whole.text.startswith(ending, said)))
        return tuple(places)

    def _begin(self, before: list[dict[str, Any]], whole: Rendered, said: int) -> int:
        """Return where the turn after the messages `before` begins; its text begins at `said`."""
        try:
            header = self._render(before, generation_prompt=True).text
        except BadExample:  # a template that samples no turn there writes no header for one
            return said
        return len(header) if whole.text.startswith(header) else said


def _last_said(whole: Rendered, start: int) -> int:
    """Return the end of the last text of the data, or `start` where the completion has none."""
    return max([start, *(end for _, end in whole.spans or ())])
