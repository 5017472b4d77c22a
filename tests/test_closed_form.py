"""The optimum of the penalized reward, π_ref·exp(r/β): online and offline methods by the real engine on
one-token answers.
"""

import pytest
import torch
from tiny_models import tiny_roles
from tiny_training import TinyTerms

from alignkit import Group
from alignkit.models.computing import role_signals
from alignkit.recipe import Training
from alignkit_dpo import DirectPreferenceOptimization
from alignkit_ppo import ProximalPolicyOptimization
from alignkit_raft import RewardRankedFineTuning
from alignkit_reinforce import Reinforce
from alignkit_unlikelihood import Unlikelihood

PROMPT = [3, 4, 5]
ANSWERS = 8  # the vocabulary: every answer is one token
BETA = 1.0


def reward_table():
    return torch.linspace(-1, 1, ANSWERS)[torch.tensor([3, 6, 1, 7, 0, 4, 2, 5])]


def single_answers(objective, folder, prompts=1, **settings):
    roles = tiny_roles(vocab_size=ANSWERS, initializer_range=0.1)
    for name in sorted(objective.trains):
        roles.add(name, trainable=True)
    for name in sorted(set(objective.reads) | {"reference"}):
        roles.add(name, trainable=False)
    groups = [Group(PROMPT)] * prompts
    options = {
        "batch_size": prompts,
        "learning_rate": 0.05,
        "schedule": "linear",
        "warmup": 0,
        "save_every": 10_000,
        **settings,
    }
    terms = TinyTerms(roles, Training(**options), folder)
    return terms.trainer(terms.online(objective, groups, lambda tokens: float(reward_table()[tokens[0]])))


@torch.no_grad()
def distribution(roles, name):
    answers = Group(PROMPT, tuple([token] for token in range(ANSWERS)))
    signals = role_signals(roles, name, roles.rows([answers]))
    return next(iter(signals.values()))[:, 0].exp()


def optimum(roles):
    weights = distribution(roles, "reference") * (reward_table() / BETA).exp()
    return weights / weights.sum()


def total_variation(one, other):
    return 0.5 * float((one - other).abs().sum())


@pytest.mark.parametrize(
    ("objective", "steps"),
    [
        (Reinforce(samples_per_prompt=128, kl_coef=BETA), 60),
        (ProximalPolicyOptimization(samples_per_prompt=128, kl_coef=BETA, epochs=2, vf_coef=0.5), 80),
    ],
    ids=["reinforce", "ppo"],
)
def test_online_methods_reach_the_closed_form_of_the_penalized_reward(objective, steps, tmp_path):
    trainer = single_answers(objective, tmp_path, steps=steps)
    assert total_variation(distribution(trainer.roles, "policy"), optimum(trainer.roles)) > 0.2
    trainer.run()
    assert total_variation(distribution(trainer.roles, "policy"), optimum(trainer.roles)) <= 0.03


def preference_groups(roles):
    """Every pair of answers both ways, weighted by its exact Bradley–Terry probability."""
    rewards = reward_table()
    groups = []
    for a in range(ANSWERS):
        for b in range(ANSWERS):
            if a != b:
                weight = torch.sigmoid(rewards[a] - rewards[b]).item()
                groups.append(Group(PROMPT, ([a], [b]), {"rank": (0.0, 1.0), "weight": (weight, weight)}))
    return groups


def offline(objective, folder, **settings):
    roles = tiny_roles(vocab_size=ANSWERS, initializer_range=0.2)
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    groups = preference_groups(roles)
    options = {
        "batch_size": len(groups),
        "learning_rate": 0.02,
        "schedule": "linear",
        "warmup": 0,
        **settings,
    }
    terms = TinyTerms(roles, Training(**options), folder)
    return terms.trainer(terms.fixed(objective, groups))


def test_preference_optimization_reaches_the_same_closed_form_and_unlikelihood_forgets_the_reference(
    tmp_path,
):
    objectives = (DirectPreferenceOptimization(beta=BETA), Unlikelihood())
    trained = [offline(objective, tmp_path / objective.name, steps=80) for objective in objectives]
    for trainer in trained:
        trainer.run()
    dpo, unlikelihood = (distribution(trainer.roles, "policy") for trainer in trained)
    reference, best = distribution(trained[0].roles, "reference"), optimum(trained[0].roles)
    assert total_variation(dpo, best) <= 0.03
    # The same preferences: what pulls the one to the reference is missing in the other.
    assert total_variation(unlikelihood, reference) > 2 * total_variation(dpo, reference)
    assert total_variation(unlikelihood, best) > 0.3


def test_rejection_sampling_raises_the_mean_reward(tmp_path):
    trainer = single_answers(RewardRankedFineTuning(samples_per_prompt=16), tmp_path, prompts=4, steps=20)
    before = float((distribution(trainer.roles, "policy") * reward_table()).sum())
    trainer.run()
    assert float((distribution(trainer.roles, "policy") * reward_table()).sum()) > before + 0.5
