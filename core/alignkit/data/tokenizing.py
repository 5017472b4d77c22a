"""Turns examples into token ids, with an exact boundary between the prompt and the completion.

A completion's ids are those that follow the prompt's ids in the tokenization of the whole text. Where a token
would straddle the boundary, the completion is tokenized by itself, as if it had been sampled. The
beginning-of-sequence is as in `transformers`: the tokenizer adds it to plain text, and only the chat template
writes it in a conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from alignkit.data.encoding import Encoder
from alignkit.data.rendering import Rendered, render
from alignkit.example import BadExample, Example, Group, Text


class Tokenization:
    """Encodes examples for one tokenizer.

    max_length: the most tokens of a prompt with its longest completion.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self._encoder = Encoder(tokenizer)

    def encode(self, example: Example, prompts: Mapping[str, Text] | None = None) -> Group:
        """Return the ids of the example. A prompt that is too long loses its beginning.

        prompts: other prompts of the same completions, by the column that holds them; each may be as long as
        the first one.

        Every completion ends with one end-of-sequence, unless the column `finished` holds 0 for it, which
        means that it was cut off where it was sampled. Raises BadExample for a completion that leaves no room
        for a prompt, for a conversation that the chat template refuses or does not extend, and where the data
        spells out a special token that cannot be written as plain text. Raises UserError where a conversation
        has no chat template.
        """
        opened = self._open(example.prompt)
        prompt = self._ids(opened, example.prompt)
        if not prompt:
            raise BadExample("empty prompt")
        ended = example.columns.get("finished", (1.0,) * len(example.completions))
        completions = tuple(
            self._completion_ids(example.prompt, opened, prompt, text, bool(end))
            for text, end in zip(example.completions, ended, strict=True)
        )
        room = self.max_length - max(map(len, completions), default=0)
        fitted = self._fit(prompt, room)
        others = {name: self._another(text, example.prompt, name) for name, text in (prompts or {}).items()}
        fitted_others = {name: self._fit(ids, room) for name, ids in others.items()}
        return Group(
            fitted,
            completions,
            example.columns,
            truncated=fitted != prompt or fitted_others != others,
            prompts=fitted_others,
            text=example.prompt,
        )

    def prompt_ids(self, prompt: Text, room: int | None = None) -> list[int]:
        """Return the ids from which to sample a completion.

        room: keep at most this number of tokens, without the prompt's beginning; None means all.
        """
        ids = self._ids(self._open(prompt), prompt)
        return ids if room is None else self._fit(ids, room)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Return the tokens that end a completion.

        These are end-of-sequence and the last token of an assistant's turn in the chat template.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            return frozenset({self._encoder.eos})
        probe = Example([{"role": "user", "content": "a"}], ([{"role": "assistant", "content": "b"}],))
        group = Tokenization(self.tokenizer, max_length=1 << 30).encode(probe)
        return frozenset({self._encoder.eos, group.completions[0][-1]})

    def _another(self, text: Text, prompt: Text, column: str) -> list[int]:
        """Return the ids of a text, from the column of this name, that takes the place of `prompt`."""
        if isinstance(text, str) != isinstance(prompt, str):
            raise BadExample(f"'prompt' and {column!r} are not both text or both conversations")
        return self.prompt_ids(text)

    def _fit(self, prompt: list[int], room: int) -> list[int]:
        """Return the last `room` tokens; a beginning-of-sequence stays in front.

        A first token that occurs again is part of the text, not a beginning-of-sequence: some chat templates
        open every turn with it. Raises BadExample where no token of the text would be left.
        """
        if len(prompt) <= room:
            return prompt
        bos = prompt[:1] if prompt[0] == self.tokenizer.bos_token_id and prompt.count(prompt[0]) == 1 else []
        if room <= len(bos):
            raise BadExample("completion longer than max_length")
        return [*bos, *prompt[len(prompt) - room + len(bos) :]]

    def _ids(self, rendered: Rendered, prompt: Text) -> list[int]:
        """Return the ids of a text that begins the sequence."""
        ids = self._encoder.ids(rendered)
        return [*self._encoder.opening, *ids] if isinstance(prompt, str) else ids

    def _completion_ids(
        self, prompt: Text, opened: Rendered, prompt_ids: list[int], completion: Text, ended: bool
    ) -> list[int]:
        """Return the ids of a completion. `ended` is false for one that was cut off where it was sampled."""
        whole, part = self._close(prompt, opened, completion)
        if not ended and isinstance(completion, list) and whole.spans is not None:
            said = max([len(opened.text), *(end for _, end in whole.spans)])
            whole, part = whole.cut(0, said), whole.cut(len(opened.text), said)
        joined = self._ids(whole, prompt)
        straddled = joined[: len(prompt_ids)] != prompt_ids
        ids = self._encoder.ids(part, continues=True) if straddled else joined[len(prompt_ids) :]
        return (
            ids
            if not ended or (isinstance(completion, list) and self._ends_in_mark(part))
            else [*ids, self._encoder.eos]
        )

    def _open(self, prompt: Text) -> Rendered:
        """Render the prompt, with what begins the assistant's turn."""
        return (
            Rendered(prompt, ((0, len(prompt)),))
            if isinstance(prompt, str)
            else self._render(prompt, generation_prompt=True)
        )

    def _close(self, prompt: Text, opened: Rendered, completion: Text) -> tuple[Rendered, Rendered]:
        """Render the whole text up to the end of the assistant's turn, and cut out the completion's part."""
        if isinstance(prompt, str) and isinstance(completion, str):
            whole = Rendered(prompt + completion, ((0, len(prompt + completion)),))
            return whole, whole.cut(len(prompt), len(whole.text))
        if isinstance(prompt, str) or isinstance(completion, str):
            raise BadExample("the prompt and its completions are not all text or all conversations")
        whole = self._render([*prompt, *completion], generation_prompt=False)
        if not whole.text.startswith(opened.text):
            raise BadExample("the chat template writes the prompt in another way when a completion follows")
        end = self._end_of_turn(whole, len(opened.text))
        return whole.cut(0, end), whole.cut(len(opened.text), end)

    def _render(self, messages: list[dict[str, Any]], *, generation_prompt: bool) -> Rendered:
        """Render messages. Raises BadExample for a special token in the data whose place is unknown."""
        rendered = render(self.tokenizer, messages, generation_prompt=generation_prompt)
        texts = (text for message in messages for field, text in message.items() if field != "role")
        if rendered.spans is None and any(self._encoder.spells_special(text) for text in texts):
            raise BadExample("spells out a special token, in a conversation that the chat template rewrites")
        return rendered

    def _end_of_turn(self, whole: Rendered, start: int) -> int:
        """Return the index where the completion that begins at `start` ends.

        It ends after the first mark that the template writes behind the last content. Where there is no mark,
        or the places of the contents are unknown, only white space at the end is left out.
        """
        if whole.spans is None:
            return max(start, len(whole.text.rstrip()))
        said = max([start, *(end for _, end in whole.spans)])
        mark = self._encoder.marks.search(whole.text, said)
        return mark.end() if mark else said + len(whole.text[said:].rstrip())

    def _ends_in_mark(self, part: Rendered) -> bool:
        """Tell whether the text ends with a mark that the template wrote."""
        said = max((end for _, end in part.spans or ()), default=0)
        return any(mark.end() == len(part.text) for mark in self._encoder.marks.finditer(part.text, said))
