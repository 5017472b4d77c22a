"""What an evaluation says at its end: what is better, and what was answered."""

import pytest

from alignkit import Example
from alignkit.recipe import Evaluate
from alignkit.rewards.kinds import RegisteredReward, WeightedReward
from alignkit.stages.evaluate.plan import PlannedEvaluation
from alignkit.stages.evaluate.table import Table
from alignkit.stages.evaluate.telling import LINES, WIDTH, answers, verdicts

GOOD = (WeightedReward(RegisteredReward("good", lambda **more: [])),)


def stage(rewards=GOOD, **settings):
    wanted = {"evaluate": ["base", "policy"], "on": "prompts", **settings}
    return PlannedEvaluation("seen", Evaluate.model_validate(wanted), (), rewards)


def interval(mean, low, high):
    return {"mean": mean, "low": low, "high": high, "count": 9}


def table(gain, name="policy"):
    mean = {"good": interval(0.39, 0.3, 0.5)}
    return Table({"base": {"good": interval(0.16, 0.1, 0.2)}, name: {**mean, "gain/good": gain}})


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (interval(0.23, 0.15, 0.31), "policy: good 0.16 → 0.39, gain 0.23 (0.15…0.31): better"),
        (interval(-0.2, -0.3, -0.1), "gain -0.20 (-0.30…-0.10): worse"),
        (interval(0.1, -0.02, 0.22), "(-0.02…0.22): not distinguishable here"),
        (interval(0.1, 0.0, 0.2), "(0.00…0.20): not distinguishable here"),
        (interval(0.1, None, None), "gain 0.10: not distinguishable here"),
        (interval(None, None, None), "policy: good scored no prompt of both, so nothing can be said"),
    ],
)
def test_a_target_is_better_where_the_interval_of_its_gain_says_so(gain, words):
    (line,) = verdicts(stage(), table(gain))
    assert line.endswith(words)


def test_a_target_with_seeds_tells_their_number():
    (line,) = verdicts(stage(seeds={"policy": 3}), table(interval(0.23, 0.15, 0.31)))
    assert line.startswith("policy (3 seeds): good")


def test_without_a_reward_nothing_is_called_better():
    assert not list(verdicts(stage(rewards=()), Table({"base": {}, "policy": {}})))


def record(*texts, score=0.5):
    return {"texts": [[text] for text in texts], "scores": {"good": [[score] for _ in texts]}}


EXAMPLES = [Example("p one"), Example([{"role": "user", "content": "p two"}])]
RECORDS = {"base": record("a", "b"), "policy": record("c", "", score=None)}


def test_the_first_prompts_are_shown_with_an_answer_of_each_target_and_its_score():
    lines = list(answers(stage(show=1), EXAMPLES, RECORDS))
    assert lines[0] == (
        "the first 1 of 2 prompts, and the first answer of each target, with its score by good:"
    )
    assert lines[1:] == ["", "  prompt", "    p one", "  base  0.50", "    a", "  policy  –", "    c"]


def test_an_empty_answer_and_a_conversation_are_shown_too():
    lines = list(answers(stage(rewards=()), EXAMPLES, RECORDS))
    assert lines[-6:] == ["  prompt", "    p two", "  base", "    b", "  policy", "    (nothing)"]


def test_of_a_target_with_seeds_the_first_answers():
    records = {"base": RECORDS["base"], "policy-seed-1": record("c", "d"), "policy-seed-2": record("e", "f")}
    lines = list(answers(stage(show=1, seeds={"policy": 2}), EXAMPLES, records))
    assert lines[-2:] == ["  policy-seed-1  0.50", "    c"]


def test_long_answers_are_cut_and_what_a_terminal_would_obey_is_left_out():
    long = record("\x1b[2J\n" + "word " * 500, "")
    lines = list(answers(stage(show=1), EXAMPLES, {"base": long, "policy": long}))
    assert "\x1b" not in "".join(lines)
    assert max(map(len, lines)) <= WIDTH + 4
    assert sum("word" in line for line in lines) == 2 * LINES
    assert lines[-1].endswith("…")


def test_nothing_is_shown_where_the_recipe_says_so():
    assert not list(answers(stage(show=0), EXAMPLES, RECORDS))
