"""Reads the transcripts of Anthropic's HH-RLHF (Bai et al., 2022, arXiv:2204.05862): `chosen` and `rejected`,
each a whole dialogue.

A turn begins with "\\n\\nHuman:" or "\\n\\nAssistant:". The last turn, the assistant's, is the completion;
those before it are the prompt, which a pair's two transcripts share. In the published files some do not, and
some last turns are empty: such rows are dropped and counted. Two turns of one speaker in succession, of which
there are a few, stay two messages.
"""

import re
from typing import Any

from alignkit import BadExample, Example, hookimpl

TURN = re.compile(r"\n\n(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}


@hookimpl
def register_formats(register):
    """Register the format `hh-rlhf`."""
    register("hh-rlhf", matches, parse)


def matches(row: dict[str, Any]) -> bool:
    """Whether both transcripts are text that begins with a speaker; a row with a `prompt` of its own is
    another format.
    """
    sides = (row.get("chosen"), row.get("rejected"))
    return "prompt" not in row and all(isinstance(text, str) and TURN.match(text) for text in sides)


def parse(row: dict[str, Any]) -> Example:
    """The pair as a conversation with two completions. Raises BadExample where the prompts differ or the
    assistant is not last.
    """
    chosen, rejected = turns(row["chosen"]), turns(row["rejected"])
    if chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        raise BadExample("the transcript does not end in an assistant's turn")
    if chosen[:-1] != rejected[:-1]:
        raise BadExample("the prompts of the pair differ")
    return Example(chosen[:-1], (chosen[-1:], rejected[-1:]), {"rank": (0.0, 1.0)})


def turns(transcript: str) -> list[dict[str, Any]]:
    """The transcript's turns as messages, without the white space around what is said."""
    before, *parts = TURN.split(transcript)
    if before.strip() or not parts:
        raise BadExample("the transcript does not begin with a speaker")
    return [
        {"role": ROLES[speaker], "content": said.strip()}
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]
