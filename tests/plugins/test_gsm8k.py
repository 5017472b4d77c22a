"""GSM8K rows: question and worked answer as a conversation, the answer kept for the reward."""

import json
from pathlib import Path

import pytest

import alignkit_gsm8k
from alignkit.registry import Registry

ROW = {"question": "Ann has 2 apples and buys 3. How many?\n", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"}
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k" / "test.jsonl"


def test_a_row_is_a_conversation_with_the_answer_beside_it():
    example = alignkit_gsm8k.parse(ROW)
    assert example.prompt == [{"role": "user", "content": "Ann has 2 apples and buys 3. How many?"}]
    assert example.completions == ([{"role": "assistant", "content": "2 + 3 = <<2+3=5>>5\n#### 5"}],)
    assert example.extra == {"answer": ROW["answer"]}


@pytest.mark.parametrize(
    "row",
    [
        {"question": "a", "answer": "5"},
        {"prompt": "a", "answer": "#### 5"},
        {"question": 1, "answer": "#### 5"},
    ],
)
def test_other_rows_are_left_to_other_formats(row):
    assert not alignkit_gsm8k.matches(row)


@pytest.mark.skipif(not DATA.is_file(), reason="the shared data is absent")
def test_the_kept_answer_is_what_the_reward_compares_with():
    reward = Registry().rewards.get("exact-answer")()
    examples = [alignkit_gsm8k.parse(json.loads(line)) for line in DATA.read_text().splitlines()[:200]]
    scores = reward.score(
        [example.prompt for example in examples],
        [example.completions[0] for example in examples],
        answer=[example.extra["answer"] for example in examples],
    )
    assert scores == [1.0] * 200
