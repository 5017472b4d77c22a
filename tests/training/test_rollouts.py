"""Online methods by the real engine on tiny models: one sampling a batch, resuming, packing."""

import json
import math
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from tiny_models import shake, tiny_roles
from tiny_training import TinyTerms

from alignkit import Group, Loss, OnlineObjective, Prompts, UserError
from alignkit.models import computing
from alignkit.recipe import Training
from alignkit.rewards.kinds import RegisteredReward, WeightedReward
from alignkit.rewards.scoring import Scorer
from alignkit.testing import check_objective
from alignkit_ppo import ProximalPolicyOptimization
from alignkit_raft import RewardRankedFineTuning
from alignkit_reinforce import Reinforce
from alignkit_sft import SupervisedFineTuning


def tokens_mean(tokens):
    return sum(tokens) / 97 / len(tokens)


def longer(
    objective, folder, moved=False, trees=True, budget=2048, reward=tokens_mean, extra=None, **settings
):
    roles = tiny_roles(trees=trees)
    for name in sorted(objective.trains):
        roles.add(name, trainable=True)
        if moved:
            shake(roles, name)
    for name in sorted(objective.reads):
        roles.add(name, trainable=False)
    options = {
        "batch_size": 3,
        "learning_rate": 1e-2,
        "micro_batch_tokens": budget,
        "max_grad_norm": 1e9,
        "save_every": 2,
        **settings,
    }
    terms = TinyTerms(roles, Training(**options), folder)
    prompts = [Group([3 + i, 4, 5 + 2 * i][: 1 + i % 3]) for i in range(6)]
    online = terms.online(objective, prompts, reward, max_tokens=7)
    return terms.trainer(online, *([] if extra is None else [extra(terms)]))


ONLINE = [
    Reinforce(samples_per_prompt=3),
    Reinforce(samples_per_prompt=3, level="token", baseline="moving-average", clip=0.2, epochs=2),
    ProximalPolicyOptimization(samples_per_prompt=2, epochs=2, minibatches=2, kl_target=1.0),
    RewardRankedFineTuning(samples_per_prompt=3),
]
IDS = ["reinforce", "reinforce-token", "ppo", "raft"]


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(trainer):
    return {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}


def fresh(objective):
    return type(objective)(**objective.model_dump(exclude_unset=True))


@pytest.mark.parametrize("objective", ONLINE, ids=IDS)
def test_at_the_first_step_ratio_is_one_divergence_zero_and_sampler_and_trainer_agree(objective, tmp_path):
    objective = fresh(objective)
    trainer = longer(objective, tmp_path, steps=1)
    trainer.run()
    (first,) = lines(tmp_path)
    assert first["rollouts/sampler_difference"] < 1e-5
    assert not trainer.display.notes
    if "objective/kl" in first:
        assert abs(first["objective/kl"]) < 1e-5
    if "val/ratio" in first:
        assert first["val/ratio"] == pytest.approx(1, abs=1e-5)
        assert first["policy/clipfrac_avg"] == 0
        assert first["policy/approxkl_avg"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("objective", ONLINE, ids=IDS)
def test_packing_and_micro_batches_change_nothing(objective, tmp_path):
    outcomes = []
    for name, trees, budget in (("whole", True, 2048), ("small", True, 1), ("flat", False, 2048)):
        trainer = longer(fresh(objective), tmp_path / name, moved=True, trees=trees, budget=budget, steps=1)
        trainer.open()
        trainer.step(0)
        outcomes.append({key: parameter.grad.clone() for key, parameter in trainer.parameters.items()})
    assert any(gradient.abs().max() > 1e-4 for gradient in outcomes[0].values())
    for other in outcomes[1:]:
        for key, gradient in outcomes[0].items():
            torch.testing.assert_close(other[key], gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("objective", ONLINE, ids=IDS)
def test_the_activations_of_all_trained_roles_together_stay_within_the_budget(
    objective, tmp_path, monkeypatch
):
    # A prompt with its samples has at most 24 tokens, 17 where two roles train.
    trainer = longer(fresh(objective), tmp_path, budget=40, steps=1)
    widths = []
    computed = computing.hidden_states

    def record(model, rows):
        if torch.is_grad_enabled():
            widths.append(rows.input_ids.numel())
        return computed(model, rows)

    monkeypatch.setattr(computing, "hidden_states", record)
    trainer.run()
    roles = len(objective.trains)
    micro_batches = [sum(widths[i : i + roles]) for i in range(0, len(widths), roles)]
    assert 20 < max(micro_batches) <= 40


class Killed(BaseException):
    pass


@pytest.mark.parametrize("objective", ONLINE, ids=IDS)
@pytest.mark.parametrize("phase", ["sampling", "scoring", "prepare", "step"])
def test_killed_in_any_phase_and_run_again_it_ends_with_the_same_bits_and_samples_once(
    objective, phase, tmp_path, monkeypatch
):
    steps = 8 if objective.epochs * objective.minibatches > 1 else 5
    whole = longer(fresh(objective), tmp_path / "whole", steps=steps)
    whole.run()
    sampled = []
    # two runs die in the phase, the second time later than the first; the last one lives
    for deaths in range(3):
        trainer = longer(fresh(objective), tmp_path / "cut", steps=steps)
        source, objective_now = trainer.terms[0].source, trainer.terms[0].objective
        count = {"left": (4 - deaths if phase == "step" else 2 + deaths) if deaths < 2 else math.inf}

        def dying(call, count=count):
            def counted(*arguments, **options):
                count["left"] -= 1
                if count["left"] == 0:
                    raise Killed
                return call(*arguments, **options)

            return counted

        if phase == "sampling":
            source.drawer.sampler.sample = dying(source.drawer.sampler.sample)
        elif phase == "scoring":
            monkeypatch.setattr(Scorer, "__call__", dying(Scorer.__call__))
        elif phase == "prepare":
            monkeypatch.setattr(type(objective_now), "prepare", dying(type(objective_now).prepare))
        else:
            trainer.optimizer.step = dying(trainer.optimizer.step)
        with suppress(Killed):
            trainer.run()
        monkeypatch.undo()
        sampled += source.drawer.sampler.calls
    assert trainer.display.notes or phase != "step"
    for name, weight in weights(whole).items():
        assert torch.equal(weight, trainer.parameters[name]), name
    assert sorted(sampled) == sorted(set(sampled)), "a batch was sampled twice"
    times = ("tokens_per_second", "memory_gb", "rollouts/seconds")
    kept = [
        [{k: v for k, v in line.items() if k not in times} for line in lines(tmp_path / name)]
        for name in ("whole", "cut")
    ]
    assert kept[0] == kept[1]


def test_samples_stay_readable_and_tensors_of_finished_batches_go(tmp_path):
    longer(Reinforce(samples_per_prompt=3), tmp_path, steps=12).run()
    folder = tmp_path / "rollouts" / "reinforce"
    assert len(list(folder.glob("*.jsonl"))) == 12
    assert {int(place.name) for place in folder.glob("*/")} == {10, 11}
    record = json.loads((folder / "000000.jsonl").read_text(encoding="utf-8").split("\n")[0])
    assert [len(tokens) for tokens in record["tokens"]] == [len(logps) for logps in record["logps"]]


def test_a_mixture_adds_another_objectives_gradient_on_its_own_data(tmp_path):
    demonstrations = [Group([5, 6], ([7, 8, 1],)), Group([9], ([10, 1],))]

    def term(terms):
        return terms.fixed(SupervisedFineTuning(), demonstrations, weight=0.5)

    alone = longer(Reinforce(samples_per_prompt=3), tmp_path / "alone", moved=True)
    mixed = longer(Reinforce(samples_per_prompt=3), tmp_path / "mixed", moved=True, extra=term)
    moved = longer(Reinforce(samples_per_prompt=3), tmp_path / "moved", moved=True)
    terms = TinyTerms(moved.roles, moved.settings, tmp_path / "only")
    only = terms.trainer(term(terms))
    gradients = []
    for trainer in (alone, only, mixed):
        trainer.open()
        trainer.step(0)
        gradients.append({key: parameter.grad.clone() for key, parameter in trainer.parameters.items()})
    for key, gradient in gradients[2].items():
        torch.testing.assert_close(gradient, gradients[0][key] + gradients[1][key], atol=1e-6, rtol=1e-4)
    assert {"reinforce/rollouts/reward", "reinforce/objective/kl", "sft/loss"} <= {*mixed.step(1).metrics}


def test_samples_without_an_opinion_are_left_out(tmp_path):
    def reward(tokens):
        return None if tokens[0] % 2 else 1.0

    trainer = longer(Reinforce(samples_per_prompt=4, baseline="none"), tmp_path, reward=reward)
    values = trainer.terms[0].source.begin(0)
    assert 0 < values["rollouts/abstained"] < 1
    assert all(
        completion[0] % 2 == 0 for group in trainer.terms[0].source.groups for completion in group.completions
    )


def test_prepare_finds_each_reward_before_its_weight_and_the_weights(tmp_path):
    found = []

    class Parts(OnlineObjective):
        name = "parts"
        data = Prompts

        def prepare(self, rollouts):
            found.append(rollouts)
            return rollouts

    def count(prompts, completions, completion_ids, **columns):
        return [float(len(tokens)) for tokens in completion_ids]

    source = longer(Parts(samples_per_prompt=2), tmp_path).terms[0].source
    (first,) = source.collector.scorer.rewards
    second = WeightedReward(RegisteredReward("count", count), 0.25)
    source.collector.scorer = Scorer((replace(first, weight=2.0), second))
    source.begin(0)
    (rollouts,) = found
    assert rollouts.reward_weights == {"table": 2.0, "count": 0.25}
    parts = rollouts.reward_parts
    assert parts["count"].tolist() == rollouts.mask.sum(-1).tolist()
    torch.testing.assert_close(rollouts.rewards, 2 * parts["table"] + 0.25 * parts["count"])


def test_a_reward_that_abstains_from_everything_is_told(tmp_path):
    trainer = longer(Reinforce(samples_per_prompt=2), tmp_path, reward=lambda tokens: None)
    with pytest.raises(UserError, match="abstained from every sample"):
        trainer.run()


def test_a_batch_of_which_nothing_is_kept_is_a_step_without_update(tmp_path):
    trainer = longer(RewardRankedFineTuning(samples_per_prompt=2, above=1e9), tmp_path, steps=2)
    before = weights(trainer)
    with pytest.raises(UserError, match="nothing was learned: in none of the 2 steps"):
        trainer.run()
    assert [line["grad_norm"] for line in lines(tmp_path)] == [0.0, 0.0]
    for name, weight in before.items():
        assert torch.equal(weight, trainer.parameters[name])


def test_a_sampler_of_another_model_is_reported(tmp_path):
    trainer = longer(Reinforce(samples_per_prompt=2), tmp_path, steps=1)
    sampler = trainer.terms[0].source.drawer.sampler
    inner = sampler.sample

    def sample_elsewhere(*arguments, **options):
        before = weights(trainer)
        shake(trainer.roles, "policy", seed=5)
        drawn = inner(*arguments, **options)
        for name, weight in before.items():
            trainer.parameters[name].data.copy_(weight)
        return drawn

    sampler.sample = sample_elsewhere
    trainer.run()
    assert any("differ from the trainer's" in note for note in trainer.display.notes)


def test_prepare_must_return_rollouts_of_fitting_shapes(tmp_path):
    class Wrong(OnlineObjective):
        name = "wrong"
        data = Prompts

        def prepare(self, rollouts):
            return rollouts.with_(advantages=torch.zeros(5, 5, 5))

    with pytest.raises(UserError, match="gave advantages the shape"):
        longer(Wrong(), tmp_path, steps=1).run()


def test_rollouts_in_steps_have_their_ends_in_prepare_and_in_loss(tmp_path):
    seen = {}

    class InSteps(OnlineObjective):
        name = "in-steps"
        data = Prompts
        step_separator = " "  # the tiny tokenizer writes numbers, and a space before all but the first

        def prepare(self, rollouts):
            seen["prepare"] = rollouts
            return rollouts

        def loss(self, batch):
            seen["loss"] = batch
            return Loss(-batch.logps, batch.step_end)

    longer(InSteps(), tmp_path, steps=1).run()
    for batch in seen.values():
        ends = batch.mask.clone()
        ends[:, 0] = batch.mask.sum(-1) == 1
        assert torch.equal(batch.step_end, ends.float())
    assert seen["loss"].step_end.sum() > len(seen["loss"])


def test_damaged_rollouts_are_refused_by_name(tmp_path):
    longer(Reinforce(samples_per_prompt=2, epochs=2, clip=0.2), tmp_path, steps=2).terms[0].source.begin(0)
    (tmp_path / "rollouts" / "reinforce" / "000000" / "tensors.safetensors").write_bytes(b"")
    again = longer(Reinforce(samples_per_prompt=2, epochs=2, clip=0.2), tmp_path, steps=2)
    with pytest.raises(
        UserError,
        match=r"these rollouts are damaged: the SHA-256 of tensors\.safetensors "
        r"differs",
    ):
        again.run()


def test_a_state_that_no_checkpoint_carries_is_told_at_once(tmp_path):
    class Keeping(OnlineObjective):
        name = "keeping"
        data = Prompts

        def prepare(self, rollouts):
            self.state["mean"] = rollouts.rewards.mean()
            return rollouts

    with pytest.raises(UserError, match=r"state\['mean'\] is a Tensor; checkpoints hold numbers"):
        longer(Keeping(), tmp_path, steps=1).run()


def kl(policy, reference):
    return (policy.exp() * (policy - reference)).sum(-1)


class Exact(OnlineObjective):
    """Brings the policy back to the reference; it keeps the divergence as it was at sampling."""

    name = "exact"
    data = Prompts
    reads = {"reference"}
    rewarded = False
    over_vocabulary = {"kl": kl, "far": lambda reference: -reference.logsumexp(-1)}

    def prepare(self, rollouts):
        return rollouts.with_(before=rollouts.kl)

    def loss(self, batch):
        moved = ((batch.kl - batch.before) * batch.mask).sum(-1)
        terms = (batch.kl * batch.mask).sum(-1)
        return Loss(terms, metrics={"kl": terms, "moved": moved.abs(), "far": batch.far.abs().sum(-1)})


def test_prepare_has_the_functions_of_the_vocabulary_as_at_sampling_and_loss_as_they_are(tmp_path):
    check_objective(Exact(samples_per_prompt=2, epochs=2))
    trainer = longer(Exact(samples_per_prompt=2, epochs=2), tmp_path, moved=True, reward=None, steps=2)
    trainer.run()
    first, second = lines(tmp_path)
    assert first["kl"] > 0.01
    assert first["moved"] < 1e-5
    assert second["kl"] < first["kl"]
    assert second["moved"] > 1e-3
    assert first["far"] < 1e-4  # probabilities add up to 1


def test_an_objective_that_learns_from_no_reward_has_none(tmp_path):
    class Reads(Exact):
        def prepare(self, rollouts):
            return rollouts.with_(before=rollouts.kl, returns=rollouts.rewards)

    longer(Exact(samples_per_prompt=2), tmp_path / "one", moved=True, reward=None, steps=1).run()
    (first,) = lines(tmp_path / "one")
    assert "rollouts/reward" not in first
    with pytest.raises(UserError, match=r"batch\.rewards was read"):
        longer(Reads(samples_per_prompt=2), tmp_path / "two", moved=True, reward=None, steps=1).run()
    with pytest.raises(UserError, match=r"batch\.rewards was read"):
        check_objective(Reads())
