"""Batches of an objective that refuses prompts: refilled in order, alike after a kill, bounded, told."""

import json

import pytest
import torch
from drawn_runs import Dynamic, places, records, trainer, varied

from alignkit import UserError


def test_refused_prompts_are_replaced_by_the_next_of_the_order(tmp_path):
    one = trainer(tmp_path)
    one.run()
    found = records(tmp_path)
    positions = [record["position"] for batch in found for record in batch]
    assert positions == sorted(positions), "the order goes on from batch to batch"
    replaced = False
    for batch in found:
        assert len(set(places(batch))) == len(batch), "a prompt is in a batch once"
        accepted = [record for record in batch if varied(record)]
        assert len(accepted) == 3 or len(batch) == 7 or max(r["round"] for r in batch) == 5
        for at in range(1, 1 + max(record["round"] for record in batch)):
            before = [record for record in batch if record["round"] < at and varied(record)]
            drawn = [record for record in batch if record["round"] == at]
            assert len(drawn) <= 3 - len(before)
            replaced |= bool(drawn)
    assert replaced
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for line, batch in zip(metrics, found, strict=True):
        assert line["rollouts/accepted"] == pytest.approx(sum(map(varied, batch)) / len(batch))


class Killed(BaseException):
    pass


def weights(one):
    return {name: parameter.detach().clone() for name, parameter in one.parameters.items()}


@pytest.mark.parametrize("at", range(1, 12))
def test_killed_at_any_moment_it_draws_the_same_batches(at, tmp_path):
    whole = trainer(tmp_path / "whole")
    whole.run()
    killed, calls = trainer(tmp_path / "killed"), []
    term = killed.terms[0]
    for owner, name in ((term.source.drawer.sampler, "sample"), (term.source.collector, "scorer")):
        wrapped = getattr(owner, name)

        def counted(*args, wrapped=wrapped, **options):
            calls.append(1)
            if len(calls) == at:
                raise Killed
            return wrapped(*args, **options)

        if name == "scorer":
            counted.rewards = wrapped.rewards
        setattr(owner, name, counted)
    with pytest.raises(Killed):
        killed.run()
    again = trainer(tmp_path / "killed")
    again.run()
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    for name, value in weights(whole).items():
        assert torch.equal(weights(again)[name], value)


def test_a_bound_that_is_met_is_told_and_the_batch_is_smaller(tmp_path):
    class Picky(Dynamic):
        max_rounds = 2

        def accept(self, rollouts):
            return torch.tensor([len(prompt.tokens) == 1 for prompt in rollouts.prompts])

    one = trainer(tmp_path, Picky(samples_per_prompt=2), steps=1)
    one.run()
    accepted = sum(
        len(one.terms[0].source.groups[i].prompt) == 1 for i in range(len(one.terms[0].source.groups))
    )
    assert 0 < accepted < 3
    (note,) = [note for note in one.display.notes if "batch 1" in note]
    assert f"has {accepted} of 3 prompts: dynamic accepted no more" in note


def test_a_stage_in_which_every_prompt_is_refused_ends_in_an_error(tmp_path):
    one = trainer(tmp_path, reward=lambda tokens: 1.0, steps=2)
    with pytest.raises(UserError, match="nothing was learned: in none of the 2 steps"):
        one.run()


@pytest.mark.parametrize("answer", [None, torch.ones(3), torch.ones(2, dtype=torch.bool)])
def test_an_answer_that_is_not_one_truth_value_per_prompt_is_refused(answer, tmp_path):
    class Wrong(Dynamic):
        def accept(self, rollouts):
            return answer

    one = trainer(tmp_path, Wrong(samples_per_prompt=2))
    with pytest.raises(UserError, match=r"`accept` returned .*; expected a tensor of bool, \(3,\)"):
        one.run()
