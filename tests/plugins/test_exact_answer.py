"""The reward `exact-answer`: where the final answer is found, which spellings are equal, and GSM8K's own
solutions.
"""

import json
import random
import time
from fractions import Fraction
from pathlib import Path

import pytest
from pydantic import ValidationError

from alignkit import UserError
from alignkit_exact_answer import ExactAnswer, final_answer, register_rewards

GSM8K = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k"
SOLUTION = "Each has 9 legs.\n9 * 2 = <<9*2=18>>18\n#### 18"


def score(*completions, answer=SOLUTION, **options):
    return ExactAnswer(**options).score(
        ["How many?"] * len(completions), list(completions), answer=[answer] * len(completions)
    )


def test_the_number_after_the_mark_counts_whatever_else_is_said():
    assert score("#### 18", "It is 7.\n#### 18 legs\nOr 5?", "18 legs\n#### 17", r"\boxed{17} #### $18") == [
        1.0,
        1.0,
        0.0,
        1.0,
    ]


def test_the_last_mark_counts():
    assert score("#### 1. Legs\n#### 18", "#### 18\n#### 17") == [1.0, 0.0]


def test_a_mark_without_a_number_directly_behind_it_is_a_heading():
    assert score("#### Step 7\nSo 18", "####\n7 is wrong, 18") == [1.0, 1.0]


def test_without_a_mark_the_last_box_counts():
    assert score(r"\boxed{18}, not 17", r"\boxed{17} and 18", r"\boxed{17} \boxed{18\text{ m}^{2}}") == [
        1.0,
        0.0,
        1.0,
    ]


def test_without_mark_and_box_the_last_number_counts():
    assert score("9 * 2 = 18.", "18 = 9 * 2", r"\boxed{legs}: 18") == [1.0, 0.0, 1.0]


def test_a_completion_without_a_number_is_wrong():
    assert score("", "eighteen", "#### eighteen") == [0.0, 0.0, 0.0]


def test_strict_reads_only_the_mark():
    assert score("#### 18", "18", r"\boxed{18}", strict=True) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.00", Fraction(1234)),
        ("$1,234", Fraction(1234)),
        (r"\$1{,}234", Fraction(1234)),
        ("1234.", Fraction(1234)),
        ("(1234)", Fraction(1234)),
        ("**1234**", Fraction(1234)),
        ("1,234,567", Fraction(1234567)),
        ("50%", Fraction(50)),
        ("007", Fraction(7)),
        ("0.10", Fraction(1, 10)),
        (".5", Fraction(1, 2)),
        ("...5", Fraction(5)),
        ("1/2", Fraction(1, 2)),
        (r"\boxed{-\dfrac{3}{4}}", Fraction(-3, 4)),
        ("-5", Fraction(-5)),
        ("−5", Fraction(-5)),
        ("-$5", Fraction(-5)),
        ("$-5", Fraction(-5)),
        ("20-5", Fraction(5)),
        ("5–7", Fraction(7)),
        ("- 5", Fraction(5)),
        ("1, 2", Fraction(2)),
        ("1,2345", Fraction(2345)),
        ("1/2.5", Fraction(5, 2)),
        (r"1,\!234", Fraction(1234)),
        (r"1\,234", Fraction(1234)),
        ("5/0", None),
        ("five", None),
    ],
)
def test_a_number_is_read_in_its_usual_spellings(text, value):
    assert final_answer(text) == value
    assert final_answer(f"It is {text}") == value


def test_any_number_is_read_back_from_its_spellings():
    rng = random.Random(0)
    for _ in range(500):
        cents = rng.choice([1, -1]) * rng.randrange(10 ** rng.randint(1, 12))
        amount = Fraction(cents, 100)
        for spelling in (
            f"{cents / 100:.2f}",
            f"{cents / 100:,.2f}",
            f"{cents / 100:,.2f}0",
            f"${cents / 100:,.2f}.",
        ):
            assert final_answer(f"So 3 + 4 = 7, and the answer is {spelling}") == amount
            assert final_answer(f"#### {spelling} in all, of 9") == amount
            assert final_answer(rf"\boxed{{{spelling}}} of 9") == amount


def test_the_solution_may_be_a_number_or_messages():
    said = [{"role": "assistant", "content": SOLUTION}]

    assert [score("#### 18", "#### 17", answer=answer) for answer in (18, 18.0, "18", said)] == [
        [1.0, 0.0]
    ] * 4
    assert score("0.1", answer=0.1) == score("100000000000000000000", answer=1e20) == [1.0]


@pytest.mark.parametrize("answer", ["no number", "", None, float("nan"), "9" * 5000])
def test_it_abstains_where_the_solution_has_no_number(answer):
    assert score("#### 18", answer=answer) == [None]


def test_the_scores_are_options():
    assert score("18", "17", correct=2, incorrect=-0.5) == [2.0, -0.5]
    with pytest.raises(ValidationError, match="correct"):
        ExactAnswer(correct=float("inf"))


def test_each_completion_is_compared_with_its_own_solution():
    assert ExactAnswer().score(["", ""], ["18", "18"], answer=["#### 17", "#### 18"]) == [0.0, 1.0]


def test_another_column_may_hold_the_solution():
    assert ExactAnswer(column="gold").score([""], ["18"], gold=["#### 18"], answer=["#### 17"]) == [1.0]


def test_a_missing_column_is_named_with_those_there_are():
    with pytest.raises(
        UserError,
        match=r"reward 'exact-answer': .*column 'answer', which is missing; "
        r"found: level, question\n.*`column`",
    ):
        ExactAnswer().score([""], ["18"], question=["How many?"], level=[1])
    with pytest.raises(UserError, match="found: none"):
        ExactAnswer().score([""], ["18"])


@pytest.mark.parametrize(
    "piece", ["#", "#### ", r"\boxed{", r"\boxed{a{", "1,", "1,111", "9", "/1", "-", ".", " ", r"\frac{1"]
)
def test_an_endless_repetition_is_read_quickly(piece):
    start = time.process_time()
    final_answer(piece * 5000)

    assert time.process_time() - start < 0.5  # a pattern that tries every pair of places would take minutes


@pytest.mark.parametrize("split", ["test", "train"])
@pytest.mark.parametrize("strict", [True, False])
def test_every_solution_of_gsm8k_is_right_by_itself_and_wrong_for_another_number(split, strict):
    path = GSM8K / f"{split}.jsonl"
    if not path.is_file():
        pytest.skip("GSM8K is not in ../shared/data")
    answers = [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()]
    golds = [int(answer.split("####")[1].replace(",", "")) for answer in answers]
    others = [f"#### {gold + 1:,}" for gold in golds]
    reward = ExactAnswer(strict=strict)

    assert len(answers) == {"test": 1319, "train": 7473}[split]
    assert [final_answer(answer) for answer in answers] == golds
    assert reward.score(answers, answers, answer=answers) == [1.0] * len(answers)
    assert reward.score(answers, others, answer=answers) == [0.0] * len(answers)


def test_it_registers_under_its_name():
    found = []
    register_rewards(found.append)

    assert [reward.name for reward in found] == ["exact-answer"]
