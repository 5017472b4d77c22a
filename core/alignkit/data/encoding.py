"""Turns rendered text into token ids in which only the chat template can write special tokens, never the
data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from alignkit.data.rendering import Rendered
from alignkit.errors import UserError
from alignkit.example import BadExample

LEAKED = "spells out a special token, which this tokenizer cannot write as plain text"


class Encoder:
    """Encodes text for one tokenizer. A special token that the data spells out becomes the ids of its
    characters.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._template_specials: dict[str, list[int]] = {}

    def ids(self, rendered: Rendered, *, continues: bool = False) -> list[int]:
        """Ids of the text, without any that the tokenizer adds by itself. `continues`: other text stands
        before it.

        The text is tokenized whole wherever the data spells out no special token; elsewhere it is cut around
        the spelling, which is tokenized like any other text. Raises BadExample where the tokenizer has no
        other way to write it.
        """
        whole = self._continue(rendered.text) if continues else self._raw(rendered.text)
        if rendered.spans is None or self._agree(whole, rendered, self._special):
            return whole
        ids: list[int] = []
        for text, spelled in self._cut(rendered):
            ids += self._continue(text, split=spelled) if continues or ids else self._raw(text, split=spelled)
        if not self._agree(ids, rendered, self._special - self._unknown):
            raise BadExample(LEAKED)
        return ids

    def spells_special(self, text: str) -> bool:
        """Whether tokenizing the text plainly would give a special token."""
        return any(token in self._special for token in self._raw(text))

    @cached_property
    def opening(self) -> list[int]:
        """What the tokenizer puts before plain text by itself: a beginning-of-sequence, or nothing."""
        plain, added = self._raw("a"), self.tokenizer("a", verbose=False)["input_ids"]
        start = next((at for at in range(len(added)) if added[at : at + len(plain)] == plain), 0)
        return list(added[:start])

    @cached_property
    def eos(self) -> int:
        """The end-of-sequence token. Raises UserError where the tokenizer has none."""
        if self.tokenizer.eos_token_id is None:
            raise UserError(
                "the model's tokenizer has no end-of-sequence token",
                hint="Set `eos_token` in its tokenizer_config.json.",
            )
        return self.tokenizer.eos_token_id

    @cached_property
    def marks(self) -> re.Pattern[str]:
        """Matches every token that was added to the vocabulary as a whole, special or not: what a template
        ends a turn with.
        """
        return _any_of(str(token) for token in self.tokenizer.added_tokens_decoder.values())

    def _agree(self, ids: list[int], rendered: Rendered, special: frozenset[int]) -> bool:
        """Whether the special tokens among `ids` are those that the template wrote, in order."""
        edges = [0, *(edge for span in rendered.spans or () for edge in span), len(rendered.text)]
        parts = [rendered.text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
        expected = [token for part in parts if part for token in self._specials_of_template(part)]
        return [token for token in ids if token in special] == [
            token for token in expected if token in special
        ]

    def _specials_of_template(self, part: str) -> list[int]:
        if part not in self._template_specials:
            self._template_specials[part] = [token for token in self._raw(part) if token in self._special]
        return self._template_specials[part]

    def _cut(self, rendered: Rendered) -> Iterator[tuple[str, bool]]:
        """The text in parts, each with whether it is a special token's text that the data spelled out."""
        at = 0
        for start, end in rendered.spans or ():
            for found in self._spelling.finditer(rendered.text, start, end):
                if found.start() > at:
                    yield rendered.text[at : found.start()], False
                yield found.group(), True
                at = found.end()
        if at < len(rendered.text):
            yield rendered.text[at:], False

    def _raw(self, text: str, *, split: bool = False) -> list[int]:
        """Ids of exactly this text; with `split`, no special token is recognised in it."""
        options = {
            "add_special_tokens": False,
            "split_special_tokens": split,
            "return_attention_mask": False,
            "verbose": False,
        }
        return self.tokenizer(text, **options)["input_ids"]

    def _continue(self, text: str, *, split: bool = False) -> list[int]:
        """Ids of a text that follows other text: without the space that some tokenizers put before the first
        word.
        """
        if self._prepends:
            before, joined = self._raw("\n"), self._raw("\n" + text, split=split)
            if joined[: len(before)] == before:
                return joined[len(before) :]
        return self._raw(text, split=split)

    @cached_property
    def _prepends(self) -> bool:
        return self._raw("\na") != [*self._raw("\n"), *self._raw("a")]

    @cached_property
    def _special(self) -> frozenset[int]:
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(
            {*self.tokenizer.all_special_ids, *(number for number, token in added if token.special)}
        )

    @cached_property
    def _unknown(self) -> frozenset[int]:
        """The unknown token where ordinary text may give it, not where the same token also begins or ends
        sequences.
        """
        tokenizer = self.tokenizer
        return frozenset({tokenizer.unk_token_id}) - {None, tokenizer.bos_token_id, tokenizer.eos_token_id}

    @cached_property
    def _spelling(self) -> re.Pattern[str]:
        return _any_of(self.tokenizer.convert_ids_to_tokens(number) for number in sorted(self._special))


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the texts, the longest first; blank ones are left out, and no text at all matches
    nothing.
    """
    wanted = sorted({text for text in texts if text.strip()}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, wanted)) or r"(?!)")
