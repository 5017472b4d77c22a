r"""Defines the reward `exact-answer`: whether a completion ends in the same number as the data's solution.

Source: Cobbe et al., 2021, Training Verifiers to Solve Math Word Problems, arXiv:2110.14168 (GSM8K), whose
solutions end in `#### N`. The final answer of a text is the first of these that it has:

1. the number directly after its last `####`,
2. the first number in its last `\boxed{…}`,
3. its last number.

Answers are compared as numbers. Commas between thousands, currency signs, percent signs, a full stop at the
end, and zeros at the end of a decimal fraction make no difference; 1/2 and `\frac{1}{2}` are 0.5.

Deviations from the authors' grader:

- It reads `####` alone, as the option `strict` does here; most models that were not trained on GSM8K do not
  write it.
- It takes the first `####`; here the last one counts, because instruction-tuned models write headings with
  that mark.
- It compares the digits as text; here 5 and 5.0 are the same.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, ClassVar

from alignkit import Field, Reward, hookimpl, needed_column, text_of

# A minus after a digit, letter or bracket is an operator. A comma belongs to a number only between thousands.
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
    strict: bool = Field(False, description="accept an answer only after `####`")
    correct: float = Field(1.0, allow_inf_nan=False, description="score of a right answer")
    incorrect: float = Field(0.0, allow_inf_nan=False, description="score of a wrong answer, or of no answer")

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """Return one of two scores per completion, or None where the solution has no number.

        Raises UserError where the column is missing.
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
    """Return the answer in a cell of data, or None where it has none.

    The cell is a solution as text or as messages, or a number by itself.
    """
    if isinstance(solution, float) and math.isfinite(solution):
        return Fraction(repr(solution))  # as it is written: 0.1 is a tenth
    return final_answer(text_of(solution) if isinstance(solution, list) else str(solution))


def final_answer(text: str, *, strict: bool = False) -> Fraction | None:
    """Return the final answer of a text, as the module describes it, or None where there is none.

    strict: only a number after `####` counts.
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
    # a division by 0, or a number with so many digits that Python refuses to read it
    except (ZeroDivisionError, ValueError):
        return None


@hookimpl
def register_rewards(register: Any) -> None:
    """Register the reward `exact-answer`."""
    register(ExactAnswer)
