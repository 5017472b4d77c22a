"""What is shown of the samples of each kind of stage."""

import json

import pytest
from fake_run import answer, write_stage

from alignkit.report.answer_files import MOST_MOMENTS, MOST_RANKED, read_answers
from alignkit.run.folder import RunFolder


def read(run, verb, **files):
    write_stage(run, "s", verb, files={name.replace("__", "/"): text for name, text in files.items()})
    return read_answers(RunFolder(run).stage("s"), verb)


def test_a_sample_stage_shows_its_first_prompts(tmp_path):
    rows = "".join(answer(f"Q{number}", ["one", "two"]) for number in range(9))
    (shown,) = read(tmp_path, "sample", **{"samples.jsonl": rows})
    assert shown.title == f"s: the first {MOST_RANKED} of 9 prompts"
    assert [one.prompt for one in shown.answers] == ["Q0", "Q1", "Q2", "Q3"]
    assert shown.answers[0].completions == {"s": ("one", "two")}


def test_a_label_stage_shows_the_best_and_the_worst_with_their_rewards(tmp_path):
    row = answer("Q", ["middle", "worst", "best"], ranks=[1, 2, 0], rewards=[0.5, 0.0, 1.0])
    (shown,) = read(tmp_path, "label", **{"ranked.jsonl": row})
    assert shown.answers[0].completions == {"best": ("best",), "worst": ("worst",)}
    assert shown.answers[0].scores == {"best": {"reward": (1.0,)}, "worst": {"reward": (0.0,)}}


def test_an_online_stage_shows_its_newest_scored_samples(tmp_path):
    scores = {"total": [[0.5, None, 1.5]], "each": {"judge": [[0.25, None, 0.75]]}}
    files = {
        "rollouts/one/000000.jsonl": answer("first", ["a", "b", "c"]),
        "rollouts/one/000000.scores.json": json.dumps(scores),
        "rollouts/one/000001.jsonl": answer("second", ["a", "b", "c"]),
        "rollouts/one/000001.scores.json": json.dumps(scores),
        "rollouts/one/000002.jsonl": answer("not scored yet", ["a", "b", "c"]),
    }
    (shown,) = read(tmp_path, "train", **files)
    (one,) = shown.answers
    assert one.prompt == "second"
    assert one.completions == {"best": ("c",), "worst": ("a",)}
    assert one.scores == {"best": {"judge": (0.75,)}, "worst": {"judge": (0.25,)}}


def previews(steps, prompts=("P1", "P2")):
    lines = [
        {"step": step, "prompt": prompt, "completions": [f"{prompt} after {step}"]}
        for step in steps
        for prompt in prompts
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_previews_stand_side_by_side_over_the_steps(tmp_path):
    (shown,) = read(tmp_path, "train", **{"previews.jsonl": previews([0, 10]) + '{"step": 20'})
    assert shown.over_time
    assert [one.prompt for one in shown.answers] == ["P1", "P2"]
    assert shown.answers[1].completions == {"step 0": ("P2 after 0",), "step 10": ("P2 after 10",)}


def test_of_many_moments_the_first_the_newest_and_some_between_are_shown(tmp_path):
    (shown,) = read(tmp_path, "train", **{"previews.jsonl": previews(range(0, 1000, 10))})
    columns = list(shown.answers[0].completions)
    assert len(columns) == MOST_MOMENTS
    assert (columns[0], columns[-1]) == ("step 0", "step 990")


@pytest.mark.parametrize("verb", ["train", "sample", "label", "evaluate"])
def test_a_stage_that_has_written_nothing_yet_shows_nothing(tmp_path, verb):
    assert read(tmp_path, verb) == ()
