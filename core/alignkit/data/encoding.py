"""Turns rendered text into token ids. Only the chat template can write special tokens, never the data."""

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
    """Encodes text for one tokenizer.

    Data may spell out a special token, such as `<|im_end|>`. It then becomes the ids of ordinary text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._template_specials: dict[str, list[int]] = {}

    def ids(self, rendered: Rendered, *, continues: bool = False) -> list[int]:
        """Return the ids of the text, without tokens that the tokenizer adds by itself.

        continues: other text stands before this one. The text is tokenized as a whole where the data spells
        out no special token. Elsewhere it is cut around the spelling, and the spelling is tokenized as
        ordinary text. Raises BadExample where the tokenizer cannot write the spelling as ordinary text.
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
        """Tell whether plain tokenization of the text gives a special token."""
        return any(token in self._special for token in self._raw(text))

    @cached_property
    def opening(self) -> list[int]:
        """Return the tokens that the tokenizer puts before plain text: a beginning-of-sequence, or none."""
        plain, added = self._raw("a"), self.tokenizer("a", verbose=False)["input_ids"]
        start = next((at for at in range(len(added)) if added[at : at + len(plain)] == plain), 0)
        return list(added[:start])

    @cached_property
    def eos(self) -> int:
        """Return the end-of-sequence token. Raises UserError where the tokenizer has none."""
        if self.tokenizer.eos_token_id is None:
            raise UserError(
                "the model's tokenizer has no end-of-sequence token",
                hint="Set `eos_token` in its tokenizer_config.json.",
            )
        return self.tokenizer.eos_token_id

    @cached_property
    def marks(self) -> re.Pattern[str]:
        """Return a pattern of the tokens that were added to the vocabulary as a whole, special or not.

        Templates end a turn with one of them.
        """
        return _any_of(str(token) for token in self.tokenizer.added_tokens_decoder.values())

    def _agree(self, ids: list[int], rendered: Rendered, special: frozenset[int]) -> bool:
        """Tell whether the special tokens among `ids` are exactly those that the template wrote, in order."""
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
        """Cut the text into parts, each with whether the data spelled out a special token there."""
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
        """Return the ids of exactly this text. With `split`, no special token is recognized in it."""
        options = {
            "add_special_tokens": False,
            "split_special_tokens": split,
            "return_attention_mask": False,
            "verbose": False,
        }
        return self.tokenizer(text, **options)["input_ids"]

    def _continue(self, text: str, *, split: bool = False) -> list[int]:
        """Return the ids of a text that follows other text.

        Some tokenizers put a space before the first word of a text. It is left out here.
        """
        if self._prepends:
            before, joined = self._raw("\n"), self._raw("\n" + text, split=split)
            if joined[: len(before)] == before:
                return joined[len(before) :]
        return self._raw(text, split=split)

    @cached_property
    def _prepends(self) -> bool:
        """Tell whether the tokenizer puts a space before the first word of a text."""
        return self._raw("\na") != [*self._raw("\n"), *self._raw("a")]

    @cached_property
    def _special(self) -> frozenset[int]:
        """Return the special tokens: those with a role, and those that were added as special."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(
            {*self.tokenizer.all_special_ids, *(number for number, token in added if token.special)}
        )

    @cached_property
    def _unknown(self) -> frozenset[int]:
        """Return the unknown token, which ordinary text may give too.

        The set is empty where the same token also begins or ends sequences, or where there is none.
        """
        tokenizer = self.tokenizer
        return frozenset({tokenizer.unk_token_id}) - {None, tokenizer.bos_token_id, tokenizer.eos_token_id}

    @cached_property
    def _spelling(self) -> re.Pattern[str]:
        return _any_of(self.tokenizer.convert_ids_to_tokens(number) for number in sorted(self._special))


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of any of the texts, the longest first. Blank texts are left out.

    Without any text the pattern matches nothing.
    """
    wanted = sorted({text for text in texts if text.strip()}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, wanted)) or r"(?!)")
