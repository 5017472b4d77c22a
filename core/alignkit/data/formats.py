"""The layouts of data rows that are known without a plugin, recognised by their columns (TRL's names), and
the choice between all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from alignkit.data.columns import consumed, number, number_columns, settled
from alignkit.data.messages import read_text
from alignkit.errors import UserError, nearest
from alignkit.example import BadExample, Example
from alignkit.registry import Format

Row = dict[str, Any]
UNSUPPORTED = ("tools", "images", "chat_template_kwargs")


class Unrecognised(UserError):
    """No format fits the row."""


@dataclass(frozen=True)
class Layout:
    """A built-in format: the columns by which it is recognised, and how they are read."""

    columns: tuple[str, ...]
    read: Callable[[Row], Example]


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


def _ranking(row: Row) -> Example:
    if not isinstance(row["completions"], (list, tuple)):
        raise BadExample("'completions' is not a list")
    return Example(
        read_text(row["prompt"], "prompt"),
        tuple(read_text(text, "completions") for text in row["completions"]),
    )


def _prompt_only(row: Row) -> Example:
    return Example(read_text(row["prompt"], "prompt"))


LAYOUTS = {
    "preference": Layout(("prompt", "chosen", "rejected"), _preference),
    "implicit-preference": Layout(("chosen", "rejected"), _implicit),
    "unpaired-preference": Layout(("prompt", "completion", "label"), _unpaired),
    "prompt-completion": Layout(("prompt", "completion"), _prompt_completion),
    "ranking": Layout(("prompt", "completions"), _ranking),
    "messages": Layout(("messages",), _messages),
    "prompt-only": Layout(("prompt",), _prompt_only),
}
"""From the most to the least particular: the first whose columns a row has is its format."""


def common_prompt(chosen: str, rejected: str) -> int:
    """Where two transcripts part, moved back to white space, so that neither completion is empty or begins
    inside a word.

    TRL's `extract_prompt` parts plain text at the first character that differs; the tokens of `cat` and `car`
    would begin at `t` and `r`.
    """
    shorter = min(len(chosen), len(rejected)) - 1
    start = next((at for at in range(shorter) if chosen[at] != rejected[at]), max(shorter, 0))
    while start > 0 and not (chosen[start].isspace() and rejected[start].isspace()):
        start -= 1
    while start > 0 and chosen[start - 1].isspace():
        start -= 1
    return start


def _read(layout: Layout, row: Row) -> Example:
    for name in UNSUPPORTED:
        if row.get(name):
            raise BadExample(f"the column {name!r} is not supported")
    example = layout.read(row)
    if len({isinstance(text, str) for text in (example.prompt, *example.completions)}) > 1:
        raise BadExample("the prompt and its completions are not all text or all conversations")
    count = len(example.completions)
    used = {*layout.columns, *consumed(row, count)}
    columns = {**number_columns(row, count), **example.columns} if count else {}
    return replace(
        example, columns=columns, extra={name: value for name, value in row.items() if name not in used}
    )


def _format(name: str, layout: Layout) -> Format:
    return Format(
        name, lambda row: all(column in row for column in layout.columns), lambda row: _read(layout, row)
    )


BUILT_IN = {name: _format(name, layout) for name, layout in LAYOUTS.items()}


def choose(row: Row, wanted: str, formats: Mapping[str, Format], place: str, where: str) -> Format:
    """The format of a row: the one that the recipe names, else the first of the plugins' and then the
    built-in ones that matches.

    Raises UserError for an unknown name, Unrecognised for a row that no format (or not the named one)
    recognises.
    """
    known = {**BUILT_IN, **formats}
    if wanted != "auto" and wanted not in known:
        raise UserError(
            f"no format is called {wanted!r}", where=f"{where}.format", hint=nearest(wanted, ["auto", *known])
        )
    candidates = [known[wanted]] if wanted != "auto" else [*formats.values(), *BUILT_IN.values()]
    for candidate in candidates:
        if _guarded(candidate, candidate.matches, row, place):
            return candidate
    raise _unrecognised(row, [candidate.name for candidate in candidates], place, where)


def parse(chosen: Format, row: Row, place: str) -> Example:
    """The row as its format reads it, the columns settled. Raises BadExample for an unusable row, UserError
    for an unusable format.
    """
    example = _guarded(chosen, chosen.parse, row, place)
    if not isinstance(example, Example):
        raise UserError(
            f"the format {chosen.name!r} returned {type(example).__name__}, not an Example", where=place
        )
    for name, values in example.columns.items():
        if len(values) != len(example.completions):
            raise UserError(
                f"the format {chosen.name!r} gave column {name!r} another length than the completions",
                where=place,
            )
    completions = tuple(read_text(text, "completion") for text in example.completions)
    return replace(
        example,
        prompt=read_text(example.prompt, "prompt"),
        completions=completions,
        columns=settled(example.columns),
    )


def _guarded(chosen: Format, call: Callable[[Row], Any], row: Row, place: str) -> Any:
    try:
        return call(row)
    except (BadExample, UserError):
        raise
    except Exception as error:
        raise UserError(
            f"the format {chosen.name!r} fails: {type(error).__name__}: {error}", where=place
        ) from error


def _unrecognised(row: Row, tried: list[str], place: str, where: str) -> Unrecognised:
    expected = [
        f"  {name}: {', '.join(LAYOUTS[name].columns)}" if name in LAYOUTS else f"  {name} (of a plugin)"
        for name in tried
    ]
    subject = f"the format {tried[0]!r} does not fit" if len(tried) == 1 else "no format fits"
    return Unrecognised(
        f"{subject} the row at {place}, whose columns are: {', '.join(map(str, row)) or 'none'}",
        where=where,
        hint="\n".join(
            [
                "Columns expected:",
                *expected,
                *rename_hint(row, [LAYOUTS[name].columns for name in tried if name in LAYOUTS]),
            ]
        ),
    )


def rename_hint(row: Mapping[str, Any], wanted: list[tuple[str, ...]]) -> list[str]:
    """A line that offers to rename the row's column nearest to a missing one, or says how columns are
    renamed.
    """
    known = {column for layout in LAYOUTS.values() for column in layout.columns}
    free = [str(column) for column in row if column not in known]
    for missing in dict.fromkeys(column for columns in wanted for column in columns if column not in row):
        close = get_close_matches(missing, free, n=1, cutoff=0.6)
        if close:
            return [f"Perhaps: `rename: {{{close[0]}: {missing}}}`."]
    return (
        ["Columns are renamed with `rename: {FOUND: EXPECTED}` in the recipe's data entry."]
        if wanted and free
        else []
    )
