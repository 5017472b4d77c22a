"""Reads GSM8K: rows with a `question`, and an `answer` whose last line is `#### N`.

Source: Cobbe et al., 2021, arXiv:2110.14168. The question becomes the user's turn, and the worked answer the
assistant's turn. The column `answer` is kept, so that the reward `exact-answer` finds the right number.
"""

from typing import Any

from alignkit import Example, hookimpl


@hookimpl
def register_formats(register):
    """Register the format `gsm8k`."""
    register("gsm8k", matches, parse)


def matches(row: dict[str, Any]) -> bool:
    """Return whether a row has a question and an answer with the mark `####`."""
    return (
        isinstance(row.get("question"), str)
        and isinstance(row.get("answer"), str)
        and "####" in row["answer"]
    )


def parse(row: dict[str, Any]) -> Example:
    """Return the question as a conversation with one completion, the worked answer."""
    prompt = [{"role": "user", "content": row["question"].strip()}]
    completion = [{"role": "assistant", "content": row["answer"].strip()}]
    return Example(prompt, (completion,), extra={"answer": row["answer"]})
