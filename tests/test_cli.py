"""The command line as a whole: what it prints, and how it ends."""

from tiny_runs import run, write_recipe

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
