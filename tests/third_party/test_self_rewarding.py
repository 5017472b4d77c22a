"""Self-rewarding: rewards by hand, and an iteration of sampling, judging and DPO on the bundled model."""

import asyncio
import json
import math

import pytest


class TableEngine:
    """An engine that calls an answer with `5` good with ¾, another with ¼; a verdict has two tokens."""

    def __init__(self):
        self.asked = []

    def logps(self, role, prompts, completions):
        self.asked += list(zip(prompts, completions, strict=True))
        assert role == "policy"
        return [self._of(prompt, completion) for prompt, completion in self.asked]

    def _of(self, prompt, completion):
        [question], [verdict] = prompt, completion
        right = "An answer: 5" in question["content"]
        probability = 0.75 if right == (verdict["content"] == "good") else 0.25
        return [math.log(probability), math.log(0.5)]  # the second is the end of the turn


def test_a_sample_is_worth_its_log_odds_by_hand(installed):
    from alignkit_self_rewarding import SelfJudge

    engine = TableEngine()
    prompt = [{"role": "user", "content": "What is 2 + 3?"}]
    found = SelfJudge().score([prompt, prompt], ["5", [{"role": "assistant", "content": "6"}]], engine)
    # log(¾·½) − log(¼·½) = log 3; the other way round for a wrong answer
    assert found == pytest.approx([math.log(3), -math.log(3)])
    assert [verdict[0]["content"] for _, verdict in engine.asked] == ["good", "bad"] * 2
    assert all("What is 2 + 3?" in question[0]["content"] for question, _ in engine.asked)


def test_words_beyond_the_limit_cost_one_each(installed):
    from alignkit_self_rewarding import Concise

    answer = Concise(words=2).score(
        ["q"] * 3, ["one", "one two", [{"role": "assistant", "content": "a b c d"}]]
    )
    assert asyncio.run(answer) == [0, 0, -2]


def rows(run, stage, file):
    lines = (run.folder / stage / file).read_text().strip().split("\n")
    return [json.loads(line) for line in lines]


def test_the_judge_is_the_policy_whose_samples_are_ranked(run):
    samples, ranked = "self-rewarding-samples", "self-rewarding-ranked"
    assert set(run.manifest(ranked)["inputs"]["reads"]) == {samples, "start"}
    drawn = {repr(text) for row in rows(run, samples, "samples.jsonl") for text in row["completions"]}
    for row in rows(run, ranked, "ranked.jsonl"):
        assert {repr(text) for text in row["completions"]} <= drawn
        best = row["ranks"].index(0)
        assert row["rewards"][best] == max(row["rewards"])
        assert all(math.isfinite(reward) for reward in row["rewards"])


def test_two_steps_of_dpo_move_the_policy_to_what_it_prefers(run):
    first, second = run.metrics("self-rewarding")
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert abs(second["rewards/margins"]) > 1e-4
