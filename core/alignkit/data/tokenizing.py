"""Turns examples into token ids, with an exact boundary between the prompt and the completion.

A completion's ids are those that follow the prompt's ids in the tokenization of the whole text. Where a token
would straddle the boundary, the completion is tokenized by itself, as if it had been sampled. The
beginning-of-sequence is as in `transformers`: the tokenizer adds it to plain text, and only the chat template
writes it in a conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from alignkit.data.encoding import Encoder, Place
from alignkit.data.own_columns import check_lengths
from alignkit.data.rendering import Rendered
from alignkit.data.steps import step_columns, step_ends
from alignkit.data.turns import Turns, Written
from alignkit.example import BadExample, Example, Group, Text


@dataclass(frozen=True)
class Tokens:
    """The tokens of a completion.

    mask: for each whether the policy wrote it; None means all. steps: the index of the last token of each
    step.
    """

    ids: list[int]
    mask: tuple[bool, ...] | None = None
    steps: tuple[int, ...] = ()


class Tokenization:
    """Encodes examples for one tokenizer.

    max_length: the most tokens of a prompt with its longest completion.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self._encoder = Encoder(tokenizer)
        self._turns = Turns(tokenizer, self._encoder)

    def encode(self, example: Example, prompts: Mapping[str, Text] | None = None) -> Group:
        """Return the ids of the example. A prompt that is too long loses its beginning.

        prompts: other prompts of the same completions, by the column that holds them; each may be as long as
        the first one.

        Every completion ends with one end-of-sequence, unless the column `finished` holds 0 for it, which
        means that it was cut off where it was sampled. Raises BadExample for a completion that leaves no room
        for a prompt, for a conversation that the chat template refuses or does not extend, where the data
        spells out a special token that cannot be written as plain text, and where a column has another number
        of entries than the completion has tokens. Raises UserError where a conversation has no chat template.
        """
        opened = self._turns.open(example.prompt)
        prompt = self._ids(opened, example.prompt)
        if not prompt:
            raise BadExample("empty prompt")
        ended = example.columns.get("finished", (1.0,) * len(example.completions))
        tokens = [
            self._completion(example, opened, prompt, text, ended=bool(end))
            for text, end in zip(example.completions, ended, strict=True)
        ]
        completions = tuple(each.ids for each in tokens)
        check_lengths(example.columns, completions)
        columns = {**example.columns}
        if example.steps is not None:
            columns |= step_columns(example.steps, tokens[0].steps)
        room = self.max_length - max(map(len, completions), default=0)
        fitted = self._fit(prompt, room)
        others = {name: self._another(text, example.prompt, name) for name, text in (prompts or {}).items()}
        fitted_others = {name: self._fit(ids, room) for name, ids in others.items()}
        return Group(
            fitted,
            completions,
            columns,
            truncated=fitted != prompt or fitted_others != others,
            masks=_masks(tokens),
            prompts=fitted_others,
            text=example.prompt,
        )

    def prompt_ids(self, prompt: Text, room: int | None = None) -> list[int]:
        """Return the ids from which to sample a completion.

        room: keep at most this number of tokens, without the prompt's beginning; None means all.
        """
        ids = self._ids(self._turns.open(prompt), prompt)
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

    def _completion(
        self, example: Example, opened: Rendered, prompt_ids: list[int], completion: Text, *, ended: bool
    ) -> Tokens:
        """Return a completion's tokens. `ended` is false for one that was cut off where it was sampled."""
        written = self._turns.close(example.prompt, opened, completion, ended=ended)
        end = [] if not ended or written.marked else [self._encoder.eos]
        if written.policy is None and example.steps is None:
            return Tokens([*self._written_ids(written, example.prompt, prompt_ids), *end])
        ids, places = self._located(written, example.prompt, prompt_ids)
        steps = () if example.steps is None else step_ends(example.steps, written, places, len(ids + end))
        return Tokens([*ids, *end], _mask(written, places, len(end)), steps)

    def _written_ids(self, written: Written, prompt: Text, prompt_ids: list[int]) -> list[int]:
        """Return the ids of the completion's part of the text."""
        joined = self._ids(written.whole, prompt)
        if joined[: len(prompt_ids)] == prompt_ids:
            return joined[len(prompt_ids) :]
        return self._encoder.ids(written.part, continues=True)

    def _located(
        self, written: Written, prompt: Text, prompt_ids: list[int]
    ) -> tuple[list[int], list[Place]]:
        """Return the ids of the completion's part of the text, and their places in the whole text."""
        ids, places = self._encoder.located(written.whole)
        opening = self._encoder.opening if isinstance(prompt, str) else []
        first = len(prompt_ids) - len(opening)
        if [*opening, *ids[:first]] == prompt_ids:
            return ids[first:], places[first:]
        ids, places = self._encoder.located(written.part, continues=True)
        return ids, [(start + written.start, end + written.start) for start, end in places]


def _mask(written: Written, places: list[Place], ends: int) -> tuple[bool, ...] | None:
    """Return for each token whether the policy wrote it; `ends` more tokens end the completion.

    A token that stands for characters of another turn too is not the policy's, unless they are white space.
    """
    if written.policy is None:
        return None
    text = written.whole.text

    def owned(start: int, end: int, begin: int, stop: int) -> bool:
        inside = begin <= start and end <= stop
        others = text[start : max(start, begin)] + text[min(end, stop) : end]
        return inside or (start < stop and begin < end and not others.strip())

    mask = (*(any(owned(*place, *turn) for turn in written.policy) for place in places), *[True] * ends)
    if not any(mask):
        raise BadExample("no token of a completion is the assistant's alone")
    return mask


def _masks(tokens: list[Tokens]) -> tuple[tuple[bool, ...], ...] | None:
    """Return the masks of all completions, or None where the policy wrote them all."""
    if all(each.mask is None for each in tokens):
        return None
    return tuple((True,) * len(each.ids) if each.mask is None else each.mask for each in tokens)
