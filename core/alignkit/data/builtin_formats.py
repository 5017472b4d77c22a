"""Defines the formats of data rows that are known without a plugin. Their columns have TRL's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from alignkit.data.columns import consumed, number, number_columns
from alignkit.data.files import Row
from alignkit.data.messages import read_text
from alignkit.example import BadExample, Example
from alignkit.registry import Format

UNSUPPORTED = ("tools", "images", "chat_template_kwargs")
"""Columns that change what a model is given. A row that fills one of them is refused."""


STEPWISE = "stepwise"
"""The format of completions with a list of labels. Data of the kind Stepwise takes them as the steps of one
completion, and other kinds take each by itself.
"""


def common_prompt(chosen: str, rejected: str) -> int:
    """Return the index at which two transcripts part, moved back to white space.

    No completion is then empty or begins inside a word. TRL's `extract_prompt` parts plain text at the first
    character that differs, so the completions of `cat` and `car` would begin at `t` and `r`.
    """
    shorter = min(len(chosen), len(rejected)) - 1
    start = next((at for at in range(shorter) if chosen[at] != rejected[at]), max(shorter, 0))
    while start > 0 and not (chosen[start].isspace() and rejected[start].isspace()):
        start -= 1
    while start > 0 and chosen[start - 1].isspace():
        start -= 1
    return start


def _messages(row: Row) -> Example:
    conversation = read_text(row["messages"], "messages")
    if isinstance(conversation, str):
        raise BadExample("'messages' is not a list of messages")
    if not conversation or conversation[-1]["role"] != "assistant":
        return Example(conversation)
    return Example(conversation[:-1], (conversation[-1:],))


def _prompt_completion(row: Row) -> Example:
    return Example(read_text(row["prompt"], "prompt"), (read_text(row["completion"], "completion"),))


def _unpaired(row: Row) -> Example:
    label = number(row["label"], "label")
    if label not in (0.0, 1.0):
        raise BadExample("'label' is neither true nor false")
    return replace(_prompt_completion(row), columns={"label": (label,)})


def _preference(row: Row) -> Example:
    chosen, rejected = read_text(row["chosen"], "chosen"), read_text(row["rejected"], "rejected")
    if isinstance(row["prompt"], str) and not isinstance(chosen, str):
        return _implicit(row)  # the conversations contain the prompt; the column repeats its text
    return Example(read_text(row["prompt"], "prompt"), (chosen, rejected), {"rank": (0.0, 1.0)})


def _implicit(row: Row) -> Example:
    chosen, rejected = read_text(row["chosen"], "chosen"), read_text(row["rejected"], "rejected")
    if isinstance(chosen, str) or isinstance(rejected, str):
        if not (isinstance(chosen, str) and isinstance(rejected, str)):
            raise BadExample("'chosen' and 'rejected' are not both text or both conversations")
        start = common_prompt(chosen, rejected)
        return Example(chosen[:start], (chosen[start:], rejected[start:]), {"rank": (0.0, 1.0)})
    from trl import extract_prompt  # pyright: ignore[reportPrivateImportUsage]

    if not chosen or not rejected:
        raise BadExample("empty completion")
    split = extract_prompt({"chosen": chosen, "rejected": rejected})
    completions = [list(split[side]) for side in ("chosen", "rejected")]
    if any(message["role"] == "user" for completion in completions for message in completion):
        raise BadExample("the prompts of the pair differ")
    return Example(list(split["prompt"]), (completions[0], completions[1]), {"rank": (0.0, 1.0)})


def _completions(row: Row) -> Example:
    if not isinstance(row["completions"], (list, tuple)):
        raise BadExample("'completions' is not a list")
    return Example(
        read_text(row["prompt"], "prompt"),
        tuple(read_text(text, "completions") for text in row["completions"]),
    )


def _prompt_only(row: Row) -> Example:
    return Example(read_text(row["prompt"], "prompt"))


def _format(name: str, columns: tuple[str, ...], read: Callable[[Row], Example]) -> Format:
    """Return the format of rows that have all of `columns`.

    `read` gives the prompt, the completions, and columns that only this format has. The format adds the
    number columns that any row may have, and puts all other columns into `extra`.
    """

    def matches(row: Row) -> bool:
        return all(column in row for column in columns)

    def parse(row: Row) -> Example:
        for column in UNSUPPORTED:
            if row.get(column):
                raise BadExample(f"the column {column!r} is not supported")
        example = read(row)
        mixed = len({isinstance(text, str) for text in (example.prompt, *example.completions)}) > 1
        if mixed and name != STEPWISE:  # steps are text, also those of a conversation
            raise BadExample("the prompt and its completions are not all text or all conversations")
        count = len(example.completions)
        used = {*columns, *consumed(row, count)}
        return replace(
            example,
            columns={**number_columns(row, count), **example.columns} if count else {},
            extra={column: value for column, value in row.items() if column not in used},
        )

    return Format(name, matches, parse, columns)


BUILT_IN = {
    known.name: known
    for known in (
        _format("preference", ("prompt", "chosen", "rejected"), _preference),
        _format("implicit-preference", ("chosen", "rejected"), _implicit),
        _format("unpaired-preference", ("prompt", "completion", "label"), _unpaired),
        _format("prompt-completion", ("prompt", "completion"), _prompt_completion),
        _format(STEPWISE, ("prompt", "completions", "labels"), _completions),
        _format("ranking", ("prompt", "completions"), _completions),
        _format("messages", ("messages",), _messages),
        _format("prompt-only", ("prompt",), _prompt_only),
    )
}
"""The formats by name, the most specific first. A row has the first format whose columns it has."""
