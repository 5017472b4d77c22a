"""Commands of the command line that train nothing: the chat's end, the list of plugins."""

import io
import json
import sys
from types import SimpleNamespace

import pytest
from tiny_runs import run, write_recipe

from alignkit.cli import main

SAMPLERS = """
from alignkit import Sampler, hookimpl

class Here(Sampler):
    name = "here"

class Absent(Sampler):
    name = "absent"

    @classmethod
    def missing(cls):
        return "the package absent is not installed"

@hookimpl
def register_samplers(register):
    register(Here)
    register(Absent)
"""


def call(monkeypatch, capsys, *arguments):
    """(exit code, stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", ["alignkit", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    return end.value.code or 0, out, err


@pytest.mark.parametrize("typed", ["red cat\n", "red cat\n\n", "red cat\n\nblue dog\n"])
def test_a_chat_ends_with_an_empty_line_or_with_the_input(monkeypatch, capsys, tmp_path, typed):
    from alignkit import chat

    class Parrot:
        def __init__(self, *args, **options):
            pass

        def answer(self, text):
            return SimpleNamespace(text=text.upper(), scores=())

    monkeypatch.setattr(chat, "Chat", Parrot)
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    code, out, err = call(monkeypatch, capsys, "sample", tmp_path)
    assert code == 0
    assert "model: RED CAT\n" in out
    assert "BLUE" not in out
    assert "Aborted" not in err


def test_a_sampler_that_cannot_be_used_is_marked_in_the_list_of_plugins(monkeypatch, capsys, tmp_path):
    file = tmp_path / "two.py"
    file.write_text(SAMPLERS)
    code, out, _ = call(monkeypatch, capsys, "plugins", "--plugin", file)
    assert code == 0
    (line,) = (line for line in out.splitlines() if line.startswith("two "))
    assert "sampler absent (not usable here: the package absent is not installed), here " in line
    (found,) = (
        item
        for item in json.loads(call(monkeypatch, capsys, "plugins", "--json", "--plugin", file)[1])
        if item["name"] == "two"
    )
    assert found["registers"] == {"sampler": ["absent", "here"]}
    assert found["not_usable"] == {"absent": "the package absent is not installed"}


NOISY = """
import logging
import warnings

from alignkit import hookimpl

def make_noise():
    logging.getLogger("bitsandbytes.backends.cpu.ops").warning("NOISE of a logger")
    warnings.warn("NOISE of a warning")

make_noise()

def noisy(prompts, completions, **columns):
    make_noise()
    return [float(len(completion)) for completion in completions]

@hookimpl
def register_rewards(register):
    register(noisy)
"""


def test_nothing_prints_into_a_commands_output_but_alignkit(base, tmp_path):
    (tmp_path / "noisy.py").write_text(NOISY)
    stages = "  one: {train: {raft: {samples_per_prompt: 2}}, on: pairs, reward: noisy, steps: 1}"
    output = run(write_recipe(tmp_path, base, stages), tmp_path, "--plugin", str(tmp_path / "noisy.py"))
    assert "NOISE" not in output
    assert "Done: " in output
