r"""The reward `exact-answer`: whether a completion ends in the number that the data's solution ends in.

    Cobbe et al., 2021, Training Verifiers to Solve Math Word Problems, arXiv:2110.14168 (GSM8K).

A solution of GSM8K ends in `#### N`. The final answer of a text is the number directly after its last `####`;
where there is none, the first number in its last `\boxed{…}`; where there is none, its last number. Answers
are compared as numbers: thousands' commas, currency signs, percent signs, a full stop at the end and a
fraction of zeros make no difference, and 1/2 or `\frac{1}{2}` is 0.5. Deviations from the authors' grader: it
reads `####` alone, as `strict` does; it takes the first `####`, which here is the last, as instruction-tuned
models write headings with that mark; and it compares the digits as text.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, ClassVar

from alignkit import Field, Reward, hookimpl, needed_column, text_of

# A minus behind a digit, letter or bracket is an operator. Commas count only where they part thousands.
NUMBER = r"(?:(?<![\w)\]}])-)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+|/\d+(?!\.?\d))?|(?<![\d.])\.\d+)"
ANYWHERE = re.compile(NUMBER)
MARKED = re.compile(rf"####[^\w\n#]*?({NUMBER})")
BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
FRACTION = re.compile(r"\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}")
SPELLINGS = (("−", "-"), (r"\$", "$"), ("-$", "-"), ("{,}", ","), (r"\!", ""), (r"\,", ""))


class ExactAnswer(Reward):
    """`correct` where the final answer of a completion equals that of the solution, else `incorrect`."""

    name: ClassVar[str] = "exact-answer"
    column: str = Field("answer", description="the data's column with the solution")
    strict: bool = Field(False, description="whether a completion must give its answer after `####`")
    correct: float = Field(1.0, allow_inf_nan=False, description="the score of a right answer")
    incorrect: float = Field(0.0, allow_inf_nan=False, description="the score of a wrong answer, or of none")

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """One of two scores a completion; None where the solution has no number. Raises UserError where the
        column is missing.
        """
        solutions = needed_column(columns, self.column, self.name)
        return [
            self._judge(text_of(completion), solution)
            for completion, solution in zip(completions, solutions, strict=True)
        ]

    def _judge(self, completion: str, solution: Any) -> float | None:
        right = solution_answer(solution)
        if right is None:
            return None
        return self.correct if final_answer(completion, strict=self.strict) == right else self.incorrect


def solution_answer(solution: Any) -> Fraction | None:
    """The answer of a cell of data: a solution as text or messages, or a number by itself. None where it has
    none.
    """
    if isinstance(solution, float) and math.isfinite(solution):
        return Fraction(repr(solution))  # as it is written: 0.1 is a tenth
    return final_answer(text_of(solution) if isinstance(solution, list) else str(solution))


def final_answer(text: str, *, strict: bool = False) -> Fraction | None:
    """The number that a text ends in, as the module says; strict: only one after `####`. None where there is
    none.
    """
    for written, plain in SPELLINGS:
        text = text.replace(written, plain)
    text = FRACTION.sub(r"\1/\2", text)
    if marked := MARKED.findall(text):
        return _number(marked[-1])
    if strict:
        return None
    boxes = BOXED.findall(text)
    numbers = (boxes and ANYWHERE.findall(boxes[-1])[:1]) or ANYWHERE.findall(text)
    return _number(numbers[-1]) if numbers else None


def _number(digits: str) -> Fraction | None:
    try:
        return Fraction(digits.replace(",", ""))
    # divided by 0, or thousands of digits, which Python refuses to read
    except (ZeroDivisionError, ValueError):
        return None


@hookimpl
def register_rewards(register: Any) -> None:
    """Register the reward `exact-answer`."""
    register(ExactAnswer)
