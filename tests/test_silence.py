"""No silence longer than 10 s: whole runs on a slow machine whose clock is simulated."""

import io
from functools import wraps
from itertools import pairwise

import pytest
import torch
from rich.console import Console
from tiny_runs import write_recipe
from tiny_stages import run_here

from alignkit import pipeline
from alignkit.data.tokenizing import Tokenization
from alignkit.display import TerminalDisplay
from alignkit.models import computing, shared
from alignkit.rewards import scoring
from alignkit.sampling.context import Context
from alignkit.training import batches, trainer

STAGES = """  drawn: {sample: base, on: pairs, per_prompt: 2, max_tokens: 6, batch_size: 8}
  ranked: {label: drawn, by: length}
  dpo: {train: dpo, on: pairs, steps: 3, evaluate_every: 2}
  judge: {train: bradley-terry, on: pairs, steps: 3}
  online: {train: {ppo: {samples_per_prompt: 2}}, on: pairs, reward: [judge, length], steps: 3,
    sampling: {max_tokens: 6}}
  table: {evaluate: [dpo, online], on: pairs, by: [judge, length], max_tokens: 4}
  pairs_table: {evaluate: [judge], on: pairs}
"""


class SlowMachine(io.StringIO):
    """A console that notes the simulated time of each line. beats: whether the display's thread is alive."""

    def __init__(self, beats):
        super().__init__()
        self.now, self.told, self.beats = 0.0, [0.0], beats
        self.display = TerminalDisplay(Console(file=self, width=200), clock=lambda: self.now)

    def write(self, text):
        if text.strip():
            self.told.append(self.now)
        return super().write(text)

    def sleep(self, seconds):
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            if self.beats:
                self.display.beat()

    def slow(self, monkeypatch, owner, name, seconds, when=lambda: True):
        """Let a function take some seconds."""
        function = getattr(owner, name)

        @wraps(function)
        def slower(*arguments, **options):
            if when():
                self.sleep(seconds)
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, slower)

    @property
    def longest_silence(self):
        times = [*self.told, self.now]
        return max(after - before for before, after in pairwise(times))


def slow_counts(machine, monkeypatch):
    """Make slow what counts: rows, passes without gradient, tokens that are sampled."""
    machine.slow(monkeypatch, Tokenization, "encode", 1)
    passes = lambda: not torch.is_grad_enabled()
    for module in (computing, batches):
        machine.slow(monkeypatch, module, "role_signals", 1.5, passes)
    machine.slow(monkeypatch, Context, "_read", 1)


@pytest.fixture
def recipe(base, tmp_path):
    short = ("training.micro_batch_tokens=16", "training.batch_size=8")
    return write_recipe(tmp_path, base, STAGES, *short)


def test_counts_alone_are_never_silent_for_10_seconds(recipe, tmp_path, monkeypatch):
    machine = SlowMachine(beats=False)
    slow_counts(machine, monkeypatch)
    run_here(recipe, tmp_path, display=machine.display)
    text = machine.getvalue()
    for task in (
        "reading and tokenizing pairs",
        "sampling",
        "reference",
        "held-out data",
        "scoring by judge",
    ):
        assert f"{task} " in text, task
    assert "left" in text
    assert machine.longest_silence <= 10
    assert machine.now > 300


def test_what_cannot_count_is_never_silent_for_10_seconds_either(recipe, tmp_path, monkeypatch):
    machine = SlowMachine(beats=True)
    slow_counts(machine, monkeypatch)
    machine.slow(monkeypatch, shared, "load_base", 25)
    machine.slow(monkeypatch, pipeline, "stage_inputs", 25)
    machine.slow(monkeypatch, pipeline, "finish", 25)
    machine.slow(monkeypatch, scoring, "call_rewards", 25)
    machine.slow(monkeypatch, trainer, "save_training", 25)
    machine.slow(monkeypatch, trainer, "differentiate", 25)
    run_here(recipe, tmp_path, display=machine.display)
    text = machine.getvalue()
    for task in ("loading ", "comparing the stage", "writing the manifest", "scoring ", "train 1/3"):
        assert task in text, task
    assert machine.longest_silence <= 10
