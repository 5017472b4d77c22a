"""Turns rendered text into token ids. Only the chat template can write special tokens, never the data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, TypeAlias

from alignkit.data.rendering import Rendered
from alignkit.errors import UserError
from alignkit.example import BadExample

Place: TypeAlias = tuple[int, int]
"""The characters of a text from the first number up to the second."""

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
        return self._encode(rendered, continues, located=False)[0]

    def located(self, rendered: Rendered, *, continues: bool = False) -> tuple[list[int], list[Place]]:
        """Return the ids as `ids` does, and for each the place of its characters in the text.

        Raises BadExample where the tokenizer does not tell the places.
        """
        if not getattr(self.tokenizer, "is_fast", False):
            raise BadExample("the tokenizer does not tell which characters a token stands for")
        return self._encode(rendered, continues, located=True)

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

    def _encode(self, rendered: Rendered, continues: bool, *, located: bool) -> tuple[list[int], list[Place]]:
        """Return the ids of the text, and their places where `located` asks for them."""
        whole = self._tokens(rendered.text, continues, located=located)
        if rendered.spans is None or self._agree(whole[0], rendered, self._special):
            return whole
        ids, places = [], []
        for start, end, spelled in self._cut(rendered):
            some, found = self._tokens(
                rendered.text[start:end], continues or bool(ids), split=spelled, located=located
            )
            ids += some
            places += [(first + start, last + start) for first, last in found]
        if not self._agree(ids, rendered, self._special - self._unknown):
            raise BadExample(LEAKED)
        return ids, places

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

    def _cut(self, rendered: Rendered) -> Iterator[tuple[int, int, bool]]:
        """Cut the text into places, each with whether the data spelled out a special token there."""
        at = 0
        for start, end in rendered.spans or ():
            for found in self._spelling.finditer(rendered.text, start, end):
                if found.start() > at:
                    yield at, found.start(), False
                yield found.start(), found.end(), True
                at = found.end()
        if at < len(rendered.text):
            yield at, len(rendered.text), False

    def _tokens(
        self, text: str, continues: bool, *, split: bool = False, located: bool
    ) -> tuple[list[int], list[Place]]:
        """Return the ids of a text, and their places in it where `located` asks for them.

        Some tokenizers put a space before the first word of a text. It is left out where the text continues
        another one.
        """
        if continues and self._prepends:
            before = self._raw("\n")
            ids, places = self._tokenize("\n" + text, split=split, located=located)
            if ids[: len(before)] == before:
                places = [(max(start - 1, 0), end - 1) for start, end in places[len(before) :]]
                return ids[len(before) :], places
        return self._tokenize(text, split=split, located=located)

    def _raw(self, text: str) -> list[int]:
        """Return the ids of exactly this text."""
        return self._tokenize(text, split=False, located=False)[0]

    def _tokenize(self, text: str, *, split: bool, located: bool) -> tuple[list[int], list[Place]]:
        """Return the ids of exactly this text, and their places where `located` asks for them.

        With `split`, no special token is recognized in it.
        """
        options = {
            "add_special_tokens": False,
            "split_special_tokens": split,
            "return_attention_mask": False,
            "verbose": False,
        }
        found = self.tokenizer(text, **options, **({"return_offsets_mapping": True} if located else {}))
        return found["input_ids"], list(found["offset_mapping"]) if located else []

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
