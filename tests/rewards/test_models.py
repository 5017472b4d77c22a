"""Reward models over one base, several at once, and beside registered rewards."""

import json

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import random_groups, shake, tiny_roles

from alignkit import Example
from alignkit.models.computing import role_signals
from alignkit.rewards.kinds import RegisteredReward, RewardModel, WeightedReward
from alignkit.rewards.models import RewardModels
from alignkit.rewards.scoring import Scorer
from alignkit.run.folder import RunFolder


def length(prompts, completions, **columns):
    return [float(len(completion)) for completion in completions]


def saved_reward_model(run, name, seed):
    """A reward model as its stage would have saved it: an adapter and a head off zero."""
    roles = tiny_roles()
    roles.add("reward", trainable=True)
    shake(roles, "reward", seed)
    folder = run / name / "adapter"
    folder.mkdir(parents=True)
    save_file(roles.state("reward"), folder / "adapter_model.safetensors")
    config = roles.model.peft_config["reward"].to_dict()
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    (folder / "adapter_config.json").write_text(json.dumps(config, default=str))
    return roles


def alone(roles, group):
    with torch.no_grad():
        return role_signals(roles, "reward", roles.rows([group]))["scores"].tolist()


@pytest.mark.parametrize("trees", [True, False])
def test_several_reward_models_over_one_base_give_each_the_score_of_the_model_alone(tmp_path, rng, trees):
    models = {
        name: saved_reward_model(tmp_path, name, seed)
        for seed, name in enumerate(("first", "second", "third"), start=3)
    }
    groups = random_groups(rng, count=5)
    examples = [Example("p", tuple("x" for _ in group.completions)) for group in groups]
    roles = tiny_roles(trees=trees)
    roles.add("policy", trainable=True)
    shake(roles, "policy", seed=9)
    rewards = (
        WeightedReward(RewardModel("first"), 0.5),
        WeightedReward(RewardModel("second"), -2),
        WeightedReward(RegisteredReward("length", length)),
    )
    watch = (WeightedReward(RewardModel("third")),)
    found = Scorer(rewards, watch, RewardModels(roles, RunFolder(tmp_path), 16))(examples, groups)

    for name, model in models.items():
        for values, group in zip(found.each[name], groups, strict=True):
            assert values == pytest.approx(alone(model, group), abs=1e-5)
    assert found.each["first"] != found.each["second"]
    for number, totals in enumerate(found.total):
        pairs = zip(found.each["first"][number], found.each["second"][number], strict=True)
        assert totals == pytest.approx([0.5 * first - 2 * second + 1 for first, second in pairs])


def test_scoring_leaves_the_policy_as_it_trains(tmp_path, rng):
    saved_reward_model(tmp_path, "judge", 3)
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    before = {name: parameter.clone() for name, parameter in roles.trainable().items()}
    groups = random_groups(rng)
    examples = [Example("p", tuple("x" for _ in group.completions)) for group in groups]
    models = RewardModels(roles, RunFolder(tmp_path), 64)
    Scorer((WeightedReward(RewardModel("judge")),), models=models)(examples, groups)
    assert roles.trainable().keys() == before.keys(), "a reward model does not train"
    assert all(
        parameter.requires_grad and torch.equal(parameter, before[name])
        for name, parameter in roles.trainable().items()
    )
