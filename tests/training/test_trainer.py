"""The training loop: micro-batches, mixtures, schedules, frozen signals, non-finite losses, resuming."""

import math
import os
import random
import signal

import pytest
import torch
from tiny_models import random_groups, shake, tiny_roles
from tiny_training import TinyTerms

from alignkit import Loss, Objective, Preferences, UserError
from alignkit.models import computing
from alignkit.recipe import Training
from alignkit.run.metrics import read_metrics
from alignkit.training import batches
from alignkit.training.interruption import Interrupted
from alignkit_bradley_terry import BradleyTerry
from alignkit_dpo import DirectPreferenceOptimization
from alignkit_sft import SupervisedFineTuning
from alignkit_unlikelihood import Unlikelihood

OBJECTIVES = [SupervisedFineTuning(), BradleyTerry(), DirectPreferenceOptimization(), Unlikelihood()]


def groups(count=12, seed=0):
    found = [
        group for group in random_groups(random.Random(seed), count * 3, most=4) if len(group.completions) > 1
    ]
    return found[:count]


def trainer(
    folder,
    objectives=(OBJECTIVES[2],),
    weights=(1.0,),
    data=None,
    moved=True,
    seed=0,
    baselines=None,
    **settings,
):
    roles = tiny_roles()
    for name in sorted(set().union(*(o.trains for o in objectives))):
        roles.add(name, trainable=True)
        if moved:
            shake(roles, name)
    for name in sorted(set().union(*(o.reads for o in objectives))):
        roles.add(name, trainable=False)
    data = groups() if data is None else data
    options = {"batch_size": 4, "learning_rate": 1e-2, "max_grad_norm": 1e9, **settings}
    terms = TinyTerms(roles, Training(**options), folder, seed)
    return terms.trainer(
        *(
            terms.fixed(one, data, data[:4], weight, baselines=baselines or {})
            for one, weight in zip(objectives, weights, strict=True)
        )
    )


def step_gradient(one):
    one.open()
    values = one.step(0).metrics
    return {name: parameter.grad.clone() for name, parameter in one.parameters.items()}, values


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_the_gradient_does_not_depend_on_the_micro_batch_size(objective, tmp_path):
    outcomes = [
        step_gradient(trainer(tmp_path / str(tokens), [objective], micro_batch_tokens=tokens))
        for tokens in (1, 40, 10_000)
    ]
    reference, values = outcomes[-1]
    assert any(gradient.abs().max() > 1e-3 for gradient in reference.values())
    for gradients, others in outcomes[:-1]:
        assert others["loss"] == pytest.approx(values["loss"], abs=1e-5)
        for name, gradient in reference.items():
            torch.testing.assert_close(gradients[name], gradient, atol=1e-5, rtol=1e-5)


def test_a_mixture_has_the_weighted_sum_of_the_gradients(tmp_path):
    dpo, sft = OBJECTIVES[2], OBJECTIVES[0]
    alone = [step_gradient(trainer(tmp_path / o.name, [o]))[0] for o in (dpo, sft)]
    mixed, values = step_gradient(trainer(tmp_path / "both", [dpo, sft], (1.0, 0.25)))
    for name, gradient in mixed.items():
        torch.testing.assert_close(gradient, alone[0][name] + 0.25 * alone[1][name], atol=1e-6, rtol=1e-5)
    assert {"dpo/loss", "sft/loss"} <= values.keys()


def test_dpo_starts_at_log_2_when_the_policy_is_the_reference(tmp_path):
    _, values = step_gradient(trainer(tmp_path, moved=False))
    assert values["loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_cached_reference_log_probabilities_are_read_back_not_computed_again(tmp_path, monkeypatch):
    first = step_gradient(trainer(tmp_path))[0]
    again = trainer(tmp_path)
    computed = computing.role_signals

    def other_than_the_reference(roles, names, rows, **options):
        assert "reference" not in names
        return computed(roles, names, rows, **options)

    for module in (computing, batches):
        monkeypatch.setattr(module, "role_signals", other_than_the_reference)
    second = step_gradient(again)[0]
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_training_lowers_the_loss(objective, tmp_path):
    one = trainer(tmp_path, [objective], steps=30, learning_rate=2e-2, warmup=0)
    one.run()
    losses = [line["loss"] for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert sum(losses[-3:]) < sum(losses[:3])


class Infinite(Objective):
    name = "infinite"
    data = Preferences

    def loss(self, batch):
        return Loss(batch.logps.sum(-1) * float("inf"))


def test_a_non_finite_loss_is_caught_before_the_weights_change(tmp_path):
    one = trainer(tmp_path, [Infinite()])
    before = {name: parameter.detach().clone() for name, parameter in one.parameters.items()}
    with pytest.raises(UserError, match=r"loss of infinite is -?inf at step 1"):
        one.run()
    assert all(torch.equal(before[name], parameter) for name, parameter in one.parameters.items())


def test_a_run_cut_in_two_ends_with_the_same_bits(tmp_path):
    whole = trainer(tmp_path / "whole", steps=9, save_every=4)
    whole.run()
    cut = trainer(tmp_path / "cut", steps=9, save_every=4)
    monkey = cut.step

    def stop(step):
        if step == 6:
            raise KeyboardInterrupt
        return monkey(step)

    cut.step = stop
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    resumed = trainer(tmp_path / "cut", steps=9, save_every=4)
    resumed.run()
    assert any("resuming after step 4" in note for note in resumed.display.notes)
    assert all(
        torch.equal(whole.parameters[name], parameter) for name, parameter in resumed.parameters.items()
    )
    lines = [
        [
            {k: v for k, v in line.items() if k not in ("tokens_per_second", "memory_gb")}
            for line in read_metrics(tmp_path / n / "metrics.jsonl")
        ]
        for n in ("whole", "cut")
    ]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("optimizer", ["adamw", "adamw-8bit"])
def test_every_optimizer_resumes_exactly(optimizer, tmp_path):
    whole = trainer(tmp_path / "whole", steps=4, save_every=2, optimizer=optimizer)
    whole.run()
    checkpoint = tmp_path / "whole" / "checkpoints" / "step-00000004"
    import shutil

    shutil.rmtree(checkpoint)
    resumed = trainer(tmp_path / "whole", steps=4, save_every=2, optimizer=optimizer)
    resumed.run()
    assert all(
        torch.equal(whole.parameters[name], parameter) for name, parameter in resumed.parameters.items()
    )


def test_held_out_metrics_stand_beside_the_baselines_of_their_term(tmp_path):
    values = trainer(tmp_path, [OBJECTIVES[1]], steps=2, baselines={"of_length": 0.6}).run()
    assert {"held_out/loss", "held_out/rewards/accuracies"} <= values.keys()
    assert values["held_out/of_length"] == 0.6


def test_weights_are_trained_in_fp32(tmp_path):
    assert all(parameter.dtype == torch.float32 for parameter in trainer(tmp_path).parameters.values())


def test_a_rate_that_throws_the_weights_out_of_range_is_caught_before_they_are_saved(tmp_path):
    one = trainer(tmp_path, [OBJECTIVES[0]], learning_rate=1e30, steps=1, warmup=0)
    with pytest.raises(UserError, match=r"the norm of the weights is inf at step 1; this step is not saved"):
        one.run()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("moment", ["evaluate", "_save"])
def test_sigterm_in_the_last_step_ends_the_run_and_the_next_one_has_nothing_left_to_do(
    tmp_path, monkeypatch, moment
):
    one = trainer(tmp_path, steps=2)
    original = getattr(one, moment)

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args)

    monkeypatch.setattr(one, moment, interrupted)
    with pytest.raises(Interrupted):
        one.run()
    again = trainer(tmp_path, steps=2)
    monkeypatch.setattr(again, "step", lambda step: pytest.fail("trained again"))
    assert again.run().keys() >= {"held_out/loss"}
    assert all(torch.equal(one.parameters[name], parameter) for name, parameter in again.parameters.items())


def test_a_seed_of_any_size_trains_and_a_small_ones_numbers_stay(tmp_path, monkeypatch):
    trainer(tmp_path / "large", seed=20240101123456, steps=1).run()
    seeds = []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    small = trainer(tmp_path / "small", seed=3)
    small.open()
    small.step(5)
    assert seeds[-1] == 3 * 1_000_003 + 5


class Remembers(Objective):
    name = "remembers"
    data = Preferences

    def loss(self, batch):
        return Loss(-batch.logps.sum(-1))

    def end_step(self, metrics):
        self.state["mean"] = torch.tensor(metrics["loss"])


def test_a_state_that_no_checkpoint_can_carry_is_named_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"state\['mean'\] is a Tensor; checkpoints hold numbers") as caught:
        trainer(tmp_path, [Remembers()], steps=1).run()
    assert caught.value.where == "objective 'remembers'"
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    "damage",
    [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: whole[:-8] + b"damaged!"],
)
def test_a_damaged_shard_of_reference_log_probabilities_is_named_and_computed_again(tmp_path, damage):
    first = step_gradient(trainer(tmp_path))[0]
    shard = next((tmp_path / "signals" / "train-0").rglob("*.safetensors"))
    whole = shard.read_bytes()
    shard.write_bytes(damage(whole))
    again = trainer(tmp_path)
    second = step_gradient(again)[0]
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any("are damaged" in note and "computed again" in note for note in again.display.notes)
    assert shard.read_bytes() == whole
    third = trainer(tmp_path)
    step_gradient(third)
    assert not third.display.notes
