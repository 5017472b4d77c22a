"""Reads the transcripts of Anthropic's HH-RLHF: `chosen` and `rejected`, each a whole dialogue.

Source: Bai et al., 2022, arXiv:2204.05862. A turn begins with "\\n\\nHuman:" or "\\n\\nAssistant:". The last
turn is the assistant's and is the completion. The turns before it are the prompt, which the two transcripts
of a pair share. In the published files some pairs have two prompts and some last turns are empty; these rows
are dropped and counted. Two turns of one speaker in succession, of which there are a few, stay two messages.
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
    """Return whether both transcripts are text that begins with a speaker.

    A row that also has a `prompt` is of another format.
    """
    sides = (row.get("chosen"), row.get("rejected"))
    return "prompt" not in row and all(isinstance(text, str) and TURN.match(text) for text in sides)


def parse(row: dict[str, Any]) -> Example:
    """Return the pair as a conversation with two completions.

    Raises BadExample where the prompts differ, or where the last turn is not the assistant's.
    """
    chosen, rejected = turns(row["chosen"]), turns(row["rejected"])
    if chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        raise BadExample("the transcript does not end in an assistant's turn")
    if chosen[:-1] != rejected[:-1]:
        raise BadExample("the prompts of the pair differ")
    return Example(chosen[:-1], (chosen[-1:], rejected[-1:]), {"rank": (0.0, 1.0)})


def turns(transcript: str) -> list[dict[str, Any]]:
    """Return the transcript's turns as messages, without white space around their contents."""
    before, *parts = TURN.split(transcript)
    if before.strip() or not parts:
        raise BadExample("the transcript does not begin with a speaker")
    return [
        {"role": ROLES[speaker], "content": said.strip()}
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]
