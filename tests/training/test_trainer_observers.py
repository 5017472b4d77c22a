"""A trainer with observers and other optimizers: where it ends, and that killed runs end in the same bits."""

import json
import random

import pytest
import torch
from tiny_models import random_groups, shake, tiny_roles
from tiny_training import TinyTerms

from alignkit import Group, Loss, Metric, Observer, OnlineObjective, Prompts, Stop, UserError
from alignkit.recipe import Training
from alignkit.run.metrics import read_metrics
from alignkit_dpo import DirectPreferenceOptimization
from alignkit_early_stopping import EarlyStopping


def groups(count=8):
    return [g for g in random_groups(random.Random(0), 40, most=3) if len(g.completions) > 1][:count]


def trainer(folder, observers=(), held_out=True, **settings):
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    roles.add("reference", trainable=False)
    options = {"batch_size": 4, "learning_rate": 1e-2, "steps": 8, "save_every": 3, **settings}
    terms = TinyTerms(roles, Training(**options), folder)
    data = groups()
    term = terms.fixed(DirectPreferenceOptimization(), data, data[:2] if held_out else ())
    return terms.trainer(term, observers=observers)


def weights(one):
    return {name: parameter.detach().clone() for name, parameter in one.parameters.items()}


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


class StopAt(Observer):
    """Stops at a step; `first` counts the steps that it has seen, in its state."""

    name = "stop-at"
    stops = True
    step: int

    def on_step(self, step, steps, metrics):
        self.state["seen"] = self.state.get("seen", 0) + 1
        return Stop("it is time") if self.state["seen"] == self.step else None


def killed(one, step):
    """Let a trainer die in step `step`, counted from 0."""
    original = one.step

    def dies(number):
        if number == step:
            raise KeyboardInterrupt
        return original(number)

    one.step = dies
    with pytest.raises(KeyboardInterrupt):
        one.run()


def test_a_stop_ends_the_stage_after_its_step_as_if_it_had_been_the_last(tmp_path):
    one = trainer(tmp_path, [StopAt(step=4)])
    values = one.run()
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert values["held_out/loss"] == lines[-1]["held_out/loss"]
    assert (tmp_path / "checkpoints" / "step-00000004").is_dir()
    assert one.display.notes == ["stopped after step 4 of 8 by stop-at: it is time"]
    plain = trainer(tmp_path / "plain", steps=8)
    killed(plain, 4)
    assert same(weights(plain), weights(one)), "the schedule is that of all steps"


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_run_killed_before_a_stop_and_resumed_stops_at_the_same_step_with_the_same_bits(tmp_path, at):
    whole = trainer(tmp_path / "whole", [StopAt(step=5)])
    whole.run()
    killed(trainer(tmp_path / "cut", [StopAt(step=5)]), at)
    resumed = trainer(tmp_path / "cut", [StopAt(step=5)])
    resumed.run()
    assert resumed.observing.stopped == whole.observing.stopped
    assert same(weights(whole), weights(resumed))


def test_a_run_killed_after_a_stop_does_not_go_on(tmp_path, monkeypatch):
    first = trainer(tmp_path, [StopAt(step=4)])
    held_out = first.run()
    again = trainer(tmp_path, [StopAt(step=4)])
    monkeypatch.setattr(again, "step", lambda step: pytest.fail("trained again"))
    assert again.run() == held_out
    assert again.observing.stopped == first.observing.stopped
    assert same(weights(first), weights(again))


class Fails(Observer):
    name = "fails"
    at: int
    seen: list[int] = []

    def on_step(self, step, steps, metrics):
        if step == self.at:
            raise ValueError("a mistake")
        self.seen.append(step)
        self.state["sum"] = self.state.get("sum", 0.0) + metrics["loss"]


def test_a_failing_observer_costs_no_step_and_sees_the_same_metrics_when_it_is_corrected(tmp_path):
    whole = Fails(at=0)
    trainer(tmp_path / "whole", [whole]).run()
    with pytest.raises(UserError, match="'fails' failed: ValueError: a mistake"):
        trainer(tmp_path / "cut", [Fails(at=5)]).run()
    assert (tmp_path / "cut" / "checkpoints" / "step-00000005").is_dir()
    corrected = Fails(at=0)
    resumed = trainer(tmp_path / "cut", [corrected])
    resumed.run()
    assert corrected.seen == [5, 6, 7, 8]
    assert corrected.state == whole.state
    steps = [
        [line["step"] for line in read_metrics(tmp_path / n / "metrics.jsonl")] for n in ("whole", "cut")
    ]
    assert steps[0] == steps[1] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_early_stopping_watches_held_out_measurements(tmp_path):
    never_better = EarlyStopping(patience=2, least=1e9)
    one = trainer(tmp_path, [never_better], evaluate_every=2)
    one.run()
    assert one.observing.stopped is not None
    assert one.observing.stopped.step == 6, (
        "the measurements after steps 4 and 6 are no better than that after 2"
    )


def test_early_stopping_without_measurements_is_refused_before_training(tmp_path):
    for settings in ({}, {"held_out": False, "evaluate_every": 2}):
        one = trainer(tmp_path / str(len(settings)), [EarlyStopping()], **settings)
        with pytest.raises(UserError, match="nothing is held out and measured before the end"):
            one.run()
        assert not one.folder.checkpoints.exists()


@pytest.mark.parametrize("optimizer", ["adamw", "adamw-8bit", "lora-plus", "muon"])
def test_a_run_cut_in_two_ends_with_the_same_bits_whatever_the_optimizer(tmp_path, optimizer):
    whole = trainer(tmp_path / "whole", steps=5, save_every=2, optimizer=optimizer)
    before = weights(whole)
    whole.run()
    assert not same(before, weights(whole))
    killed(trainer(tmp_path / "cut", steps=5, save_every=2, optimizer=optimizer), 3)
    resumed = trainer(tmp_path / "cut", steps=5, save_every=2, optimizer=optimizer)
    resumed.run()
    assert same(weights(whole), weights(resumed))


class Online(OnlineObjective):
    name = "online"
    data = Prompts
    metrics = {"kept": Metric("kept")}

    def prepare(self, rollouts):
        return rollouts.with_(advantages=rollouts.rewards - rollouts.rewards.mean())

    def loss(self, batch):
        return Loss(-batch.advantages * (batch.logps * batch.mask).sum(-1))


class Drawn(Observer):
    """Keeps the rollouts that it sees; counts their batches in its state."""

    name = "drawn"

    def model_post_init(self, context):
        self._seen = []

    def on_rollouts(self, step, rollouts):
        self.state["batches"] = self.state.get("batches", 0) + 1
        self._seen.append((step, rollouts))


def online(folder, observer):
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    settings = Training(batch_size=2, learning_rate=1e-2, steps=6, save_every=3)
    terms = TinyTerms(roles, settings, folder)
    prompts = [Group([number, 5]) for number in range(3, 9)]
    objective = Online(samples_per_prompt=2, epochs=2)
    term = terms.online(objective, prompts, lambda tokens: None if tokens[0] % 3 == 0 else float(tokens[0]))
    return terms.trainer(term, observers=[observer])


def test_each_batch_of_rollouts_is_seen_once_with_its_texts_and_rewards(tmp_path):
    drawn = Drawn()
    online(tmp_path, drawn).run()
    assert [step for step, _ in drawn._seen] == [1, 3, 5]
    for number, (_, rollouts) in enumerate(drawn._seen):
        file = tmp_path / "rollouts" / "online" / f"{number:06d}.jsonl"
        records = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
        assert rollouts.objective == "online"
        assert list(rollouts.prompts) == [record["prompt"] for record in records]
        assert list(rollouts.completions) == [record["completions"] for record in records]
        expected = [
            [None if tokens[0] % 3 == 0 else float(tokens[0]) for tokens in record["tokens"]]
            for record in records
        ]
        assert rollouts.rewards == expected
        assert rollouts.reward_parts == {"table": expected}


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_resumed_run_has_seen_each_batch_once(tmp_path, at):
    whole, resumed = Drawn(), Drawn()
    online(tmp_path / "whole", whole).run()
    killed(online(tmp_path / "cut", Drawn()), at)
    online(tmp_path / "cut", resumed).run()
    assert resumed.state == whole.state == {"batches": 3}
    assert resumed._seen[-1] == whole._seen[-1]


def test_learning_rates_of_roles_are_metrics_of_their_own(tmp_path):
    one = trainer(tmp_path, steps=2, warmup=0, schedule="constant", learning_rate={"policy": 0.01})
    one.run()
    for line in read_metrics(tmp_path / "metrics.jsonl"):
        assert line["learning_rate/policy"] == 0.01
        assert "learning_rate" not in line
    plain = trainer(tmp_path / "plain", steps=2, warmup=0, schedule="constant", learning_rate=0.01)
    plain.run()
    assert same(weights(one), weights(plain))
