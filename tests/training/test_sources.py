"""Where the groups of a step come from, where the data does not change."""

import torch
from tiny_models import random_groups, tiny_roles
from whole_steps import Entropic

from alignkit import Objective, Preferences, Role
from alignkit.models.computing import role_signals
from alignkit.models.roles import Following
from alignkit.recipe import Training
from alignkit.training.sources import fixed_source
from alignkit_dpo import DirectPreferenceOptimization
from alignkit_sft import SupervisedFineTuning


def source(objective, groups, folder, roles=None, seed=0):
    roles = roles or tiny_roles()
    for name in sorted({*objective.trains, *objective.reads} - roles.roles.keys()):
        roles.add(name, trainable=name in objective.trains)
    settings = Training(batch_size=4)
    return fixed_source(objective, groups, roles, settings, folder=folder, seed=seed, note=print)


def test_an_epoch_uses_each_group_once_in_an_order_of_the_seed(rng, tmp_path):
    groups = random_groups(rng, 10)
    one, other = (source(SupervisedFineTuning(), groups, tmp_path, seed=seed) for seed in (0, 1))
    assert one.steps_per_epoch == 3
    epoch = [one.indices(step) for step in range(3)]
    assert [len(indices) for indices in epoch] == [4, 4, 2]
    assert sorted(index for indices in epoch for index in indices) == list(range(10))
    assert one.indices(3) != one.indices(0)
    assert other.indices(0) != one.indices(0)


def test_frozen_roles_are_computed_before_training_and_attached_as_the_batch_is_laid_out(rng, tmp_path):
    groups, roles = random_groups(rng, 6), tiny_roles()
    found = source(DirectPreferenceOptimization(), groups, tmp_path, roles)
    assert found.names == ("reference",)
    found.open(2, lambda done, total: None)
    indices = found.indices(1)
    rows = roles.rows([groups[index] for index in indices])
    with torch.no_grad():
        expected = role_signals(roles, "reference", rows)["reference_logps"]
    torch.testing.assert_close(found.attach(rows, indices)["reference_logps"], expected, atol=1e-5, rtol=1e-4)


def test_without_frozen_roles_nothing_is_computed(rng, tmp_path):
    found = source(SupervisedFineTuning(), random_groups(rng, 4), tmp_path)
    found.open(2, lambda done, total: None)
    assert found.names == ()
    assert not list(tmp_path.iterdir())


def test_what_shares_the_adapter_of_a_role_that_follows_another_is_not_frozen(rng, tmp_path):
    class Twins(DirectPreferenceOptimization):
        reads = {"reference", "twin", "base"}
        roles = {"twin": Role("language-model", shares="reference"), "base": "language-model"}

    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("base", kind="language-model", trainable=False)
    roles.add("reference", trainable=False, following=Following("policy", 0.5))
    roles.add("twin", kind="language-model", trainable=False, shares="reference")
    assert source(Twins(), random_groups(rng, 4), tmp_path, roles).names == ("base",)


def test_a_trained_head_over_the_bare_base_moves_and_the_base_does_not(rng, tmp_path):
    class Probed(DirectPreferenceOptimization):
        reads = {"reference", "value"}

    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    roles.add("value", trainable=True, shares="reference")
    assert source(Probed(), random_groups(rng, 4), tmp_path, roles).names == ("reference",)


def test_the_entropy_of_a_frozen_policy_is_kept_too(rng, tmp_path):
    class Uncertain(Objective):
        name, data = "uncertain", Preferences
        trains, reads, entropy = {"value"}, {"policy"}, True

    groups, roles = random_groups(rng, 6), tiny_roles()
    found = source(Uncertain(), groups, tmp_path, roles)
    assert found.names == ("policy",)
    found.open(2, lambda done, total: None)
    indices = found.indices(0)
    rows = roles.rows([groups[index] for index in indices])
    with torch.no_grad():
        expected = role_signals(roles, "policy", rows, entropy=True)["entropy"]
    torch.testing.assert_close(found.attach(rows, indices)["entropy"], expected, atol=1e-5, rtol=1e-4)


def test_roles_that_functions_of_the_vocabulary_name_are_not_kept(rng, tmp_path):
    found = source(Entropic(), random_groups(rng, 4), tmp_path)
    assert found.names == ()
