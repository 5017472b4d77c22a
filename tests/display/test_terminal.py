"""What a run shows on a console: lines and bars, how often, and what stays of them."""

import io
import time

import pytest
from rich.console import Console

from alignkit import Metric
from alignkit.display import TerminalDisplay
from alignkit.progress import counting, doing

METRICS = {"loss": Metric("loss"), "accuracy": Metric("accuracy", "share of pairs")}


class Shown:
    """A display on a console of text, with a clock that the test sets; `beats` as its thread would."""

    def __init__(self, terminal=False):
        self.out, self.now = io.StringIO(), 0.0
        console = Console(file=self.out, width=100, force_terminal=terminal)
        self.display = TerminalDisplay(console, clock=lambda: self.now)

    def wait(self, seconds, beats=False):
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            if beats:
                self.display.beat()

    @property
    def lines(self):
        return [line.strip() for line in self.out.getvalue().splitlines() if line.strip()]


@pytest.fixture
def shown():
    return Shown()


def test_a_count_gives_a_line_at_most_every_8_seconds_with_the_time_left(shown):
    progress = counting(shown.display, "reading rows")
    for row in range(201):
        progress(row, 200)
        shown.wait(0.5)
    assert shown.lines[0] == "reading rows 16/200  1 min 30 s left"
    assert shown.lines[1] == "reading rows 32/200  1 min 20 s left"
    assert shown.lines[-2] == "reading rows 192/200  4 s left"
    assert shown.lines[-1] == "reading rows 200/200"
    assert len(shown.lines) == 13


def test_a_count_without_a_total_says_how_long_it_has_taken(shown):
    progress = counting(shown.display, "reading rows")
    progress(1, 0)
    shown.wait(9)
    progress(19, 0)
    assert shown.lines == ["reading rows 19  9 s"]


def test_short_tasks_give_no_lines(shown):
    for _ in range(20):
        with doing(counting(shown.display, "scoring")):
            shown.wait(0.3)
    assert len(shown.lines) <= 1


def test_what_cannot_tell_how_far_it_is_repeats_its_line(shown):
    with doing(counting(shown.display, "loading weights")):
        shown.wait(30, beats=True)
    assert shown.lines == [f"loading weights  {seconds} s" for seconds in (9, 18, 27, 30)]


def test_a_count_that_does_not_move_says_since_when(shown):
    counting(shown.display, "reading")(3, 10)
    shown.wait(9, beats=True)
    assert shown.lines == ["reading 3/10  9 s  since 9 s"]


def test_silence_without_any_task_names_the_stage(shown):
    shown.display.begin("dpo", "train dpo", METRICS)
    shown.wait(9, beats=True)
    assert shown.lines[-1] == "dpo, for 9 s"


def test_a_task_within_a_task_is_shown_with_it_and_ends_with_it(shown):
    shown.display.begin("ppo", "train ppo", METRICS)
    shown.display.advance("train", 3, 10, {"loss": 1.0})
    sampling = counting(shown.display, "sampling")
    sampling(0, 64)
    shown.wait(8)
    sampling(16, 64)
    assert shown.lines[-1] == "train 3/10: sampling 16/64  24 s left"
    shown.display.advance("train", 4, 10, {"loss": 0.5})
    assert list(shown.display.tasks) == ["train"]


def test_the_last_line_of_training_is_always_shown_and_held_out_numbers_at_once(shown):
    shown.display.begin("dpo", "train dpo", METRICS)
    shown.display.advance("train", 0, 3, {})
    for step, values in enumerate(
        [{"loss": 3.0}, {"loss": 2.0, "held_out/loss": 9.0}, {"loss": 1.0}], start=1
    ):
        shown.now += 1
        shown.display.advance("train", step, 3, values)
    assert shown.lines[1:] == ["train 2/3  loss 2, held out 9  1 s left", "train 3/3  loss 1, held out 9"]


def test_the_task_may_know_better_how_long_it_takes(shown):
    shown.display.advance("train", 1, 100, {}, left=7200.0)
    shown.wait(8)
    shown.display.advance("train", 2, 100, {}, left=7190.0)
    assert shown.lines == ["train 2/100  2 h 00 min left"]


def test_trends_of_a_resumed_stage_begin_where_the_stage_began(shown):
    shown.display.begin("dpo", "train dpo", METRICS)
    shown.display.recall("train", [{"step": step, "accuracy": step / 100} for step in range(15)])
    shown.display.advance("train", 20, 20, {"accuracy": 0.5})
    assert "accuracy 0.5 ↑ (0.015 at first" in shown.lines[-1]


def test_a_new_stage_forgets_the_numbers_of_the_one_before(shown):
    for stage in ("one", "two"):
        shown.display.begin(stage, "train", METRICS)
        shown.display.advance("train", 1, 1, {"loss": 1.0} if stage == "one" else {"accuracy": 0.5})
    assert shown.lines[-1] == "train 1/1  accuracy 0.5"


@pytest.mark.parametrize("terminal", [False, True])
def test_markup_and_escape_sequences_in_names_are_shown_as_text(terminal):
    shown = Shown(terminal)
    bad = "[/b] :smile: {x} \x1b[41m"
    shown.display.begin(bad, bad, {bad: Metric(bad)})
    shown.display.note(bad)
    shown.display.table({bad: {bad: {"mean": 1.0, "low": 0.0, "high": 2.0, "count": 3}}})
    shown.display.advance(bad, 1, 3, {bad: 1.0, f"held_out/{bad}": 2.0})
    shown.display.advance(bad, 3, 3, {})
    shown.display.finish()
    shown.display.close(f"Done: {bad}")
    text = shown.out.getvalue()
    assert text.count("[/b] :smile: ") >= 8
    assert "\x1b[41m" not in text


def test_bars_appear_in_a_terminal_and_vanish():
    shown = Shown(terminal=True)
    counting(shown.display, "reading rows")(1, 200)
    with doing(counting(shown.display, "loading weights")):
        shown.display.beat()
    counting(shown.display, "reading rows")(200, 200)
    shown.display.end()
    text = shown.out.getvalue()
    assert "reading rows" in text
    assert "loading weights" in text
    assert shown.display.bars.progress is None


def test_the_end_names_how_long_each_stage_took(shown):
    for stage, seconds in (("sft", 75), ("judge", 0), ("ppo", 5)):
        shown.display.begin(stage, "", {})
        shown.now += seconds
        if seconds:
            shown.display.finish()
    shown.display.close("Done: runs/x")
    assert [" ".join(line.split()) for line in shown.lines[-5:]] == [
        "sft 1 min 15 s",
        "judge skipped",
        "ppo 5 s",
        "together 1 min 20 s",
        "Done: runs/x",
    ]


def test_a_thread_breaks_the_silence(monkeypatch):
    monkeypatch.setattr("alignkit.display.terminal.SILENCE_SECONDS", 0.05)
    monkeypatch.setattr("alignkit.display.terminal.BEAT_SECONDS", 0.01)
    out = io.StringIO()
    with TerminalDisplay(Console(file=out)) as display, doing(counting(display, "loading")):
        time.sleep(0.5)
    told = out.getvalue().count("loading")
    assert told >= 3
    time.sleep(0.1)
    assert out.getvalue().count("loading") == told
