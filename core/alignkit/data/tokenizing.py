"""Turns examples into token ids: where the prompt ends and the completion begins is exact, token for token.

A completion's ids are those that follow the prompt's ids in the tokenization of the whole text. Where a token would straddle the
boundary, the completion's text is tokenized by itself instead, as sampling would continue. Beginning-of-sequence is what the model's
own tokenizer writes: for plain text its own addition, for conversations only what the chat template says, as `transformers` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

from alignkit.data.example import BadExample, Example, Group, Text
from alignkit.data.rendering import Rendered, render
from alignkit.errors import UserError

LEAKED = "holds the text of a special token, which this tokenizer cannot write as plain text"


class Tokenization:
    """Encodes examples for one tokenizer. `max_length`: tokens of a prompt with its longest completion."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self._template_specials = lru_cache(maxsize=4096)(self._find_template_specials)

    def encode(self, example: Example) -> Group:
        """The example's ids; every completion ends with one end-of-sequence. A prompt that is too long loses its beginning.

        Raises BadExample for a completion that leaves no room for a prompt, for a conversation that the chat template refuses, and for
        text of a special token that the tokenizer knows no other way to write. Raises UserError where a conversation meets no chat template.
        """
        rendered = self._render_prompt(example.prompt)
        prompt = self._opening_ids(rendered, example.prompt)
        completions = tuple(self._completion_ids(example.prompt, rendered, prompt, text) for text in example.completions)
        room = self.max_length - max(map(len, completions), default=0)
        fitted = self._fit(prompt, room)
        return Group(fitted, completions, example.columns, truncated=len(fitted) < len(prompt))

    def prompt_ids(self, prompt: Text, room: int | None = None) -> list[int]:
        """The ids from which to sample a completion; at most `room` of them where it is given, the last ones."""
        ids = self._opening_ids(self._render_prompt(prompt), prompt)
        return ids if room is None else self._fit(ids, room)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a completion: end-of-sequence, and what the chat template writes at the end of an assistant's turn."""
        ends = {self._eos}
        if getattr(self.tokenizer, "chat_template", None):
            conversation = [{"role": "user", "content": "a"}], [{"role": "assistant", "content": "b"}]
            ends.add(self.encode(Example(conversation[0], (conversation[1],))).completions[0][-1])
        return frozenset(ends)

    def _fit(self, prompt: list[int], room: int) -> list[int]:
        """The last `room` tokens; one that opens the sequence and nothing else (a BOS) stays in front."""
        if len(prompt) <= room:
            return prompt
        bos = prompt[:1] if prompt[0] == self.tokenizer.bos_token_id and prompt.count(prompt[0]) == 1 else []
        if room <= len(bos):
            raise BadExample("completion longer than max_length")
        return [*bos, *prompt[len(prompt) - room + len(bos) :]]

    # Text of prompts and completions

    def _render_prompt(self, prompt: Text) -> Rendered:
        if isinstance(prompt, str):
            return Rendered(prompt, ((0, len(prompt)),))
        return render(self.tokenizer, prompt, generation_prompt=True)

    def _render_completion(self, prompt: Text, rendered: Rendered, completion: Text) -> tuple[Rendered, Rendered]:
        """The whole text, and the completion's part of it up to the end of the assistant's turn."""
        if isinstance(prompt, str):
            assert isinstance(completion, str)
            whole = Rendered(prompt + completion, ((0, len(prompt + completion)),))
            return whole, whole.after(len(prompt), len(whole.text))
        assert not isinstance(completion, str)
        whole = render(self.tokenizer, [*prompt, *completion], generation_prompt=False)
        if not whole.text.startswith(rendered.text):
            raise BadExample("the chat template writes the prompt in another way when a completion follows")
        end = self._end_of_turn(whole, len(rendered.text))
        return whole.after(0, end), whole.after(len(rendered.text), end)

    def _end_of_turn(self, whole: Rendered, start: int) -> int:
        """Where the completion ends: after the first token that the template writes behind the last content, or without its white space."""
        said = whole.spans[-1][1] if whole.spans else start
        suffix = whole.text[said:]
        marks = list(self._marks.finditer(suffix)) if self._marks else []
        if marks:
            return said + (marks[0] if whole.spans else marks[-1]).end()
        return said + len(suffix.rstrip())

    # Ids

    def _opening_ids(self, rendered: Rendered, prompt: Text) -> list[int]:
        ids = self._ids(rendered)
        return [*self._opening, *ids] if isinstance(prompt, str) else ids

    def _completion_ids(self, prompt: Text, rendered: Rendered, prompt_ids: list[int], completion: Text) -> list[int]:
        whole, part = self._render_completion(prompt, rendered, completion)
        joined = self._opening_ids(whole, prompt)
        ids = joined[len(prompt_ids) :] if joined[: len(prompt_ids)] == prompt_ids else self._ids(part, continues=True)
        written = isinstance(completion, list) and self._ends_in_mark(part)
        return ids if written else [*ids, self._eos]

    def _ends_in_mark(self, part: Rendered) -> bool:
        end = part.spans[-1][1] if part.spans else 0
        return bool(self._marks) and any(end + mark.end() == len(part.text) for mark in self._marks.finditer(part.text[end:]))

    def _ids(self, rendered: Rendered, *, continues: bool = False) -> list[int]:
        """Ids of a text in which only the template may write special tokens.

        Where the data spells one out, the text is cut around it, and the spelling is tokenized like any other text.
        """
        ids = self._continue(rendered.text) if continues else self._raw(rendered.text)
        if self._specials_of(ids) == self._expected(rendered):
            return ids
        if rendered.spans is None:
            raise BadExample(LEAKED)
        ids = []
        for number, (text, spelled) in enumerate(self._cut(rendered)):
            ids += self._continue(text, split=spelled) if continues or number else self._raw(text, split=spelled)
        if self._specials_of(ids) != self._expected(rendered):
            raise BadExample(LEAKED)
        return ids

    def _cut(self, rendered: Rendered) -> Iterator[tuple[str, bool]]:
        """The text in parts, each with whether it is a special token's text that the data wrote."""
        at = 0
        for start, end in rendered.spans or ():
            for found in self._special_text.finditer(rendered.text, start, end) if self._special_text else ():
                if found.start() > at:
                    yield rendered.text[at : found.start()], False
                yield found.group(), True
                at = found.end()
        if at < len(rendered.text):
            yield rendered.text[at:], False

    def _raw(self, text: str, *, split: bool = False) -> list[int]:
        """Ids of exactly this text; with `split`, no special token is recognised in it."""
        return self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=split, return_attention_mask=False, return_token_type_ids=False, verbose=False
        )["input_ids"]

    def _continue(self, text: str, *, split: bool = False) -> list[int]:
        """Ids of a text that follows other text: without the space that some tokenizers put before the first word."""
        if self._prepends:
            anchor, joined = self._raw("\n"), self._raw("\n" + text, split=split)
            if joined[: len(anchor)] == anchor:
                return joined[len(anchor) :]
        return self._raw(text, split=split)

    # Special tokens

    def _specials_of(self, ids: Sequence[int]) -> list[int]:
        return [token for token in ids if token in self._special_ids]

    def _expected(self, rendered: Rendered) -> list[int]:
        """The special tokens that the template itself writes."""
        if rendered.spans is None:
            ...
        edges = [0, *(edge for span in rendered.spans or () for edge in span), len(rendered.text)]
        parts = [rendered.text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
        return [token for part in parts for token in self._template_specials(part)]
