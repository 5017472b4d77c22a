"""Previews: answers to fixed prompts while the policy is trained, which training does not notice."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import random_groups, shake, tiny_roles
from tiny_training import TinySampler, TinyTerms

from alignkit import Example, Group
from alignkit.recipe import Training
from alignkit.sampler import Sampling
from alignkit.training.previews import PreviewPrompts, Previews
from alignkit_sft import SupervisedFineTuning


class Noisy(TinySampler):
    """A sampler that uses torch's random numbers, as a plugin's may."""

    def sample(self, role, prompts, settings, **more):
        torch.rand(3)
        return super().sample(role, prompts, settings, **more)


def prompts(count=2, held_out=True):
    groups = [Group([5 + number, 6], ([7, 1],), {}) for number in range(count)]
    examples = [Example(f"{number}\u2028", ("x",)) for number in range(count)]
    return PreviewPrompts(examples, groups, held_out)


def trainer(folder, previews=True, **settings):
    """A trainer with dropout over a moved policy, that previews every 3 steps."""
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    groups = random_groups(random.Random(0), 12)
    terms = TinyTerms(roles, Training(batch_size=4, learning_rate=3e-2, **settings), folder)
    made = terms.trainer(terms.fixed(SupervisedFineTuning(), groups))
    if previews:
        base, file = roles.base, terms.folder.previews
        made.previews = Previews(
            Noisy(roles),
            base,
            prompts(),
            Sampling(max_tokens=5, temperature=1.0),
            every=3,
            file=file,
            display=terms.display,
        )
    return made


def lines(folder):
    # a line separator within a text ends no line of the file
    return [json.loads(line) for line in (folder / "previews.jsonl").read_text().split("\n")[:-1]]


def weights(folder):
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    return load_file(newest / "tensors.safetensors")


def test_answers_are_written_at_step_0_every_few_steps_and_at_the_end(tmp_path):
    trainer(tmp_path, steps=7).run()
    found = lines(tmp_path)
    assert [line["step"] for line in found] == [0, 0, 3, 3, 6, 6, 7, 7]
    assert [line["prompt"] for line in found] == ["0\u2028", "1\u2028"] * 4
    assert all(line["held_out"] and len(line["completions"]) == 1 for line in found)
    assert found[0]["completions"] != found[-2]["completions"]


def test_training_ends_with_the_same_bits_with_and_without_previews(tmp_path):
    for name in ("with", "without"):
        trainer(tmp_path / name, previews=name == "with", steps=7).run()
    with_, without = weights(tmp_path / "with"), weights(tmp_path / "without")
    assert with_.keys() == without.keys()
    assert all(torch.equal(with_[key], without[key]) for key in with_)
    assert not (tmp_path / "without" / "previews.jsonl").exists()


@pytest.mark.parametrize("killed", [0, 1, 3, 4, 5, 6])
def test_a_resumed_run_neither_loses_nor_doubles_a_step(killed, tmp_path):
    trainer(tmp_path / "whole", steps=7, save_every=2).run()
    one = trainer(tmp_path / "cut", steps=7, save_every=2)
    step = one.step

    def die(number):
        if number == killed:
            raise KeyboardInterrupt
        return step(number)

    one.step = die
    with pytest.raises(KeyboardInterrupt):
        one.run()
    trainer(tmp_path / "cut", steps=7, save_every=2).run()
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_the_first_different_prompts_that_leave_room_are_taken():
    groups = [Group(ids, ([7],), {}) for ids in ([3, 4], [3, 4], [3, 4, 5], [6], [8])]
    examples = [Example(str(number), ("x",)) for number in range(5)]
    chosen = PreviewPrompts(examples, groups, held_out=False).first(2, room=2)
    assert [example.prompt for example in chosen.examples] == ["0", "3"]
    assert [group.prompt for group in chosen.groups] == [[3, 4], [6]]
    assert not chosen.held_out


def test_the_temperature_is_low_and_the_random_numbers_are_the_same_each_time(tmp_path):
    one = trainer(tmp_path, steps=3)
    assert one.previews.sampling.temperature == 0.5
    assert (one.previews.sampling.per_prompt, one.previews.sampling.step) == (1, 0)
    one.previews.draw(1)
    one.previews.draw(2)
    first, again = lines(tmp_path)[:2], lines(tmp_path)[2:]
    assert [line["completions"] for line in first] == [line["completions"] for line in again]
