"""Ranking data by a reward: how much of it is read, and what becomes of rows that cannot be."""

import json
from types import SimpleNamespace

import pytest
from tiny_tokenizers import byte_tokenizer

from alignkit import UserError
from alignkit.data.tokenizing import Tokenization
from alignkit.recipe import DataEntry, Label
from alignkit.rewards.kinds import RegisteredReward, WeightedReward
from alignkit.run.folder import RunFolder
from alignkit.stages.data import StageData
from alignkit.stages.label.plan import PlannedLabel
from alignkit.stages.label.work import work_on_label


def row(prompt, *completions):
    return json.dumps({"prompt": prompt, "completions": completions})


ROWS = ["{", row("q", "a", "bb"), row("r", "x" * 90), row("s", "", "c"), row("t", "d")]


def length(prompts, completions, **columns):
    return [len(text) for text in completions]


@pytest.fixture
def label(tmp_path):
    """Labels rows by their length; returns the stage's result, the lines written and the notes shown."""

    def label(*lines, **settings):
        rows, notes = tmp_path / "rows.jsonl", []
        rows.write_text("".join(line + "\n" for line in lines))
        entries = {"drawn": DataEntry(path=str(rows), **settings)}
        base = SimpleNamespace(
            tokenization=lambda max_length, room: Tokenization(byte_tokenizer(), max_length)
        )
        context = SimpleNamespace(
            data=StageData(entries, RunFolder(tmp_path), base, {}, notes.append),  # type: ignore[arg-type]
            display=SimpleNamespace(note=notes.append, advance=lambda *counts: None),
            seed=0,
        )
        wanted = Label.model_validate({"label": "drawn", "by": "length", "max_length": 64})
        rewards = (WeightedReward(RegisteredReward("length", length)),)
        folder = RunFolder(tmp_path).stage("ranked")
        stage = PlannedLabel("ranked", wanted, ("drawn",), rewards)
        result = work_on_label(stage, context, folder)  # type: ignore[arg-type]
        return result, [json.loads(line) for line in folder.ranked.read_text().splitlines()], notes

    return label


def test_rows_that_cannot_be_ranked_are_left_out_counted_and_told(label):
    result, lines, notes = label(*ROWS)
    assert [line["prompt"] for line in lines] == ["q", "s", "t"]
    assert lines[0]["ranks"] == [1, 0]
    assert result == {
        "prompts": 3,
        "completions": 4,
        "dropped": 2,
        "abstained": 0,
        "empty": 1,
        "mean_reward": 1.25,
    }
    assert any("not valid JSON (first at" in note for note in notes)
    assert any("completion longer than max_length (first at" in note for note in notes)
    assert "left out: 2 bad rows, 1 empty, 0 without a score" in notes[-1]


def test_a_bad_row_is_an_error_where_the_recipe_says_so(label):
    with pytest.raises(UserError, match="2 of 5 rows cannot be used"):
        label(*ROWS, on_bad="error")


def test_limit_counts_usable_rows(label):
    result, lines, _ = label(*ROWS, limit=2)
    assert [line["prompt"] for line in lines] == ["q", "s"]
    assert result["dropped"] == 2
    assert label(*ROWS, limit=1, skip=1, on_bad="error")[0]["prompts"] == 1, (
        "the bad rows are before it and behind it"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [([row("q", "")], "no completion to rank"), (["{", "{"], "none of 2 rows can be used")],
)
def test_nothing_to_rank_is_an_error(label, lines, message):
    with pytest.raises(UserError, match=message):
        label(*lines)
