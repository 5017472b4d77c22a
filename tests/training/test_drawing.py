"""Rounds of samples: in the order of the prompts, from several roles, beside completions of the data."""

from dataclasses import replace

import pytest
import torch
from drawn_runs import PROMPTS, Dynamic, Guided, Versus, parity, places, records, trainer
from tiny_models import shake, tiny_roles
from tiny_training import TinySampler, TinyTerms

from alignkit import Example, Loss, OnlineObjective, Preferences, Prompts, UserError
from alignkit.data.order import step_indices
from alignkit.recipe import Training


def test_without_a_refusal_a_batch_has_the_prompts_of_its_step(tmp_path):
    class Easy(Dynamic):
        accept = OnlineObjective.accept

    one = trainer(tmp_path, Easy(samples_per_prompt=2))
    one.run()
    assert [places(batch) for batch in records(tmp_path)] == [step_indices(0, k, 7, 3) for k in range(4)]


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


DIFFERENCE = "rollouts/sampler_difference"


class Taught(OnlineObjective):
    """Learns from completions that others wrote."""

    name = "taught"
    data = Prompts
    reads = {"reference"}
    samples_from = {"reference": 2}

    def loss(self, batch):
        return Loss(-batch.logps * (1 + batch.rewards)[:, None], batch.mask)


def test_the_samplers_numbers_of_other_roles_are_not_compared_with_the_policys(tmp_path):
    one = trainer(tmp_path, Taught(), steps=1)
    one.open()
    assert DIFFERENCE not in one.step(0).metrics
    assert not one.display.notes


def test_an_objective_may_learn_from_other_roles_beside_the_data_without_the_policys_samples(tmp_path):
    class Beside(Taught):
        data = Preferences
        samples_from = {"reference": 1, "data": 1}

    prompts = [replace(group, completions=([7, 1],)) for group in PROMPTS]
    texts = [Example(f"prompt {n}", (" 7 1",)) for n in range(len(PROMPTS))]
    one = trainer(tmp_path, Beside(), prompts=prompts, texts=texts, steps=1)
    one.open()
    assert DIFFERENCE not in one.step(0).metrics


class Hinted(OnlineObjective):
    """Learns from samples of a teacher that writes after another prompt."""

    name = "hinted"
    data = Prompts
    roles = {"teacher": "language-model"}
    reads = {"teacher"}
    samples_from = {"policy": 1, "teacher": 1}

    def loss(self, batch):
        return Loss(-batch.logps * (1 + batch.rewards)[:, None], batch.mask)


@pytest.mark.parametrize("role", ["policy", "teacher"])
def test_a_role_writes_after_the_prompt_that_it_reads(role, tmp_path):
    roles = tiny_roles()
    roles.add("policy", trainable=True, prompt="hint" if role == "policy" else None)
    roles.add("teacher", trainable=False, kind="language-model", prompt="hint" if role == "teacher" else None)
    shake(roles, "policy")
    terms = TinyTerms(roles, Training(batch_size=3, steps=1), tmp_path)
    prompts = [replace(group, prompts={"hint": [50, 51, 52]}) for group in PROMPTS]
    term = terms.online(Hinted(), prompts, parity, max_tokens=3)
    seen, sampler = {}, term.source.drawer.sampler
    assert isinstance(sampler, TinySampler)
    inner = sampler.sample

    def sample(which, prompts, *arguments, **options):
        seen[which] = prompts
        return inner(which, prompts, *arguments, **options)

    sampler.sample = sample
    one = terms.trainer(term)
    one.open()
    assert one.step(0).metrics[DIFFERENCE] < 1e-5
    assert seen.pop(role) == [[50, 51, 52]] * 3
    assert [50, 51, 52] not in next(iter(seen.values()))
    rollouts = term.source.batch.rollouts
    written = rollouts.sampled_from("teacher")[:, None] & rollouts.mask
    torch.testing.assert_close(
        rollouts.sampler_logps[written], rollouts.teacher_logps[written], atol=1e-5, rtol=1e-5
    )
