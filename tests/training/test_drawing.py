"""Rounds of samples: refused prompts are replaced in order, killed runs go on alike, several sources."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_models import shake, tiny_roles
from tiny_training import TinyTerms

from alignkit import Batch, Example, Group, Loss, OnlineObjective, Preferences, Prompts, Rollouts, UserError
from alignkit.data.order import epoch_order, step_indices
from alignkit.recipe import Training

PROMPTS = [Group([3 + i, 4, 5 + 2 * i][: 1 + i % 3]) for i in range(7)]


class Dynamic(OnlineObjective):
    """Refuses prompts whose samples all have the same reward."""

    name = "dynamic"
    data = Prompts
    max_rounds = 6

    def accept(self, rollouts: Rollouts) -> torch.Tensor:
        return rollouts.of_groups(rollouts.group_std(rollouts.rewards)) > 0

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        return rollouts.with_(advantages=rollouts.rewards - rollouts.group_mean(rollouts.rewards))

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.advantages * (batch.logps * batch.mask).sum(-1))


def parity(tokens):
    return float(sum(tokens) % 2)


def trainer(folder, objective=None, reward=parity, prompts=PROMPTS, batch_size=3, texts=None, **settings):
    objective = objective or Dynamic(samples_per_prompt=2)
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    shake(roles, "policy")
    options = {"batch_size": batch_size, "learning_rate": 1e-2, "save_every": 1, "steps": 4, **settings}
    terms = TinyTerms(roles, Training(**options), folder)
    term = terms.online(objective, prompts, reward, max_tokens=3)
    if texts is not None:
        term.source.drawer.prompts.examples[:] = texts
    return terms.trainer(term)


def records(folder, name="dynamic"):
    files = sorted((folder / "rollouts" / name).glob("*.jsonl"))
    return [[json.loads(line) for line in file.read_text().strip().split("\n")] for file in files]


def places(batch):
    return [epoch_order(0, r["position"] // 7, 7)[r["position"] % 7] for r in batch]


def varied(record):
    return len({parity(tokens) for tokens in record["tokens"]}) > 1


def test_without_a_refusal_a_batch_has_the_prompts_of_its_step(tmp_path):
    class Easy(Dynamic):
        accept = OnlineObjective.accept

    one = trainer(tmp_path, Easy(samples_per_prompt=2))
    one.run()
    assert [places(batch) for batch in records(tmp_path)] == [step_indices(0, k, 7, 3) for k in range(4)]


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
    for owner, name in ((term.source.drawer.sampler, "sample"), (term.source, "scorer")):
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


class Versus(OnlineObjective):
    """Learns from samples of the policy and of the reference, in one group."""

    name = "versus"
    data = Prompts
    reads = {"reference"}
    samples_from = {"policy": 2, "reference": 1}

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        own = rollouts.sampled_from("policy")
        assert own.tolist() == [True, True, False] * (len(rollouts) // 3)
        return rollouts.with_(sign=own.double() - 0.5)

    def loss(self, batch: Batch) -> Loss:
        assert batch.sources == ("policy", "reference")
        return Loss(-batch.sign * (batch.logps * batch.mask).sum(-1))


def test_completions_come_from_several_roles(tmp_path):
    one = trainer(tmp_path, Versus(), reward=lambda tokens: 1.0, steps=1)
    one.open()
    source = one.terms[0].source
    source.begin(0)
    rollouts = source.batch.rollouts
    mask = rollouts.mask
    of_policy = (rollouts.source == 0)[:, None] & mask
    of_reference = (rollouts.source == 1)[:, None] & mask
    torch.testing.assert_close(
        rollouts.sampler_logps[of_policy], rollouts.old_logps[of_policy], atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        rollouts.sampler_logps[of_reference], rollouts.reference_logps[of_reference], atol=1e-5, rtol=1e-5
    )
    one.step(0)


def test_two_roles_alike_do_not_draw_alike(tmp_path):
    """With the same numbers, policy and reference would give the same completions at the first step."""
    one = trainer(tmp_path, Versus(), reward=lambda tokens: 1.0, steps=1)
    for parameter in one.parameters.values():
        parameter.data.zero_()
    one.open()
    one.terms[0].source.begin(0)
    (batch,) = records(tmp_path, "versus")
    assert any(record["tokens"][0] != record["tokens"][2] for record in batch)


class Guided(OnlineObjective):
    """Learns from two of its own samples and one completion of the data."""

    name = "guided"
    data = Preferences
    samples_from = {"policy": 2, "data": 1}

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.rewards * (batch.logps * batch.mask).sum(-1))


def test_completions_of_the_data_stand_beside_the_samples(tmp_path):
    prompts = [replace(group, completions=([9, 8, 1], [7, 1])) for group in PROMPTS]
    texts = [Example(f"prompt {n}", (" 9 8 1", " 7 1")) for n in range(len(PROMPTS))]
    one = trainer(tmp_path, Guided(), prompts=prompts, texts=texts, reward=lambda t: float(len(t)), steps=1)
    one.open()
    source = one.terms[0].source
    source.begin(0)
    rollouts = source.batch.rollouts
    data = rollouts.sampled_from("data")
    assert data.sum() == 3
    assert rollouts.tokens[data].tolist() == [[9, 8, 1]] * 3
    assert not rollouts.sampler_logps[data].any()
    assert rollouts.rewards[data].tolist() == [3.0] * 3
    assert one.step(0).metrics["rollouts/sampler_difference"] < 1e-5
    (batch,) = records(tmp_path, "guided")
    assert all(record["completions"][2] == " 9 8 1" for record in batch)


def test_too_few_completions_in_the_data_are_told(tmp_path):
    one = trainer(tmp_path, Guided(), steps=1)
    with pytest.raises(UserError, match="a prompt has 0 completions in the data; the objective takes 1"):
        one.run()
