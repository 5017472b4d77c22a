"""Reads a solution in steps, each with numbers of its own, and finds the token at which each step ends.

The steps of a row are one completion: a newline stands between two steps, as in TRL's PRMTrainer. A step's
last token is the one that holds this newline, and that of the last step is the token that ends the
completion. So a value that is computed before that token has seen the whole step, and, as in TRL, not the
next one. TRL tokenizes each step by itself and puts a newline behind the last step too; here the whole
completion is tokenized as one text, and the last step ends as other completions do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate, pairwise

from alignkit.data.columns import SCALARS
from alignkit.data.encoding import Place
from alignkit.data.own_columns import is_per_token
from alignkit.data.turns import Written
from alignkit.example import BadExample, Column, Example, Steps
from alignkit.signals import STEP_END

SEPARATOR = "\n"
"""The text between two steps."""


def joined(example: Example) -> Example:
    """Return an example whose completions are steps as an example with one completion.

    Its columns hold what is one number for the row; what is one number for each step is in `steps`. Raises
    BadExample for a step that is blank or no text, and for a label that is neither 0 nor 1.
    """
    texts = []
    for step in example.completions:
        if not isinstance(step, str):
            raise BadExample("a step is not text")
        if not step.strip():
            raise BadExample("empty step")
        texts.append(step)
    if any(label not in (0.0, 1.0) for label in example.columns["label"]):
        raise BadExample("'labels' holds other values than true and false")
    text = SEPARATOR.join(texts)
    lengths = [len(step) + len(SEPARATOR) for step in texts]
    ends = (*accumulate(lengths[:-1]), len(text))
    columns = {
        name: numbers
        for name, numbers in example.columns.items()
        if name not in ("rank", "votes", "finished") and not is_per_token(numbers)
    }
    of_row = {name for name in columns if _is_of_row(name, example)}
    return replace(
        example,
        completions=(text if isinstance(example.prompt, str) else [{"role": "assistant", "content": text}],),
        columns={name: columns[name][:1] for name in of_row},
        steps=Steps(text, ends, {name: numbers for name, numbers in columns.items() if name not in of_row}),
    )


def _is_of_row(name: str, example: Example) -> bool:
    """Tell whether the row has one number of this name, which its column repeats."""
    return name in SCALARS or not isinstance(example.extra.get(name, ()), (list, tuple))


def step_ends(steps: Steps, written: Written, places: list[Place], count: int) -> tuple[int, ...]:
    """Return the index of the last token of each step, in a completion of `count` tokens.

    places: those of the tokens in the written text, without a token that ends it. Raises BadExample where the
    chat template hides the place of the steps, and where two steps end in one token.
    """
    if not written.part.spans:
        raise BadExample("the chat template rewrites the completion, so its steps cannot be found")
    (first, last), *_ = written.part.spans
    # the template may have stripped white space around the steps
    stripped = steps.text.index(written.part.text[first:last])
    shift = written.start + first - stripped
    ends = [
        max(number for number, (start, _) in enumerate(places) if start < shift + end)
        for end in steps.ends[:-1]
    ]
    ends.append(count - 1)
    if any(end <= before for before, end in pairwise(ends)):
        raise BadExample("two steps end in the same token")
    return tuple(ends)


def step_columns(steps: Steps, ends: tuple[int, ...]) -> Mapping[str, Column]:
    """Return the columns of the steps as numbers of the completion's tokens: 0 but at the end of a step."""
    columns = {}
    for name, numbers in {**steps.columns, STEP_END: (1.0,) * len(ends)}.items():
        of_tokens = [0.0] * (ends[-1] + 1)
        for end, number in zip(ends, numbers, strict=True):
            of_tokens[end] = number
        columns[name] = (tuple(of_tokens),)
    return columns
