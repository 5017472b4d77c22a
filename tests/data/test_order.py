"""The order of groups is a function of the seed and the step, and micro-batches keep to their budget."""

from itertools import chain

import pytest
from tiny_models import random_groups

from alignkit.data.order import epoch_order, micro_batches, step_indices, steps_per_epoch


def test_an_epoch_is_a_permutation_that_the_seed_and_the_epoch_decide():
    orders = {epoch_order(seed, epoch, 20) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4
    assert all(sorted(order) == list(range(20)) for order in orders)


@pytest.mark.parametrize(("count", "batch_size", "steps"), [(10, 5, 2), (10, 4, 3), (3, 8, 1)])
def test_the_steps_of_an_epoch_use_each_group_once(count, batch_size, steps):
    assert steps_per_epoch(count, batch_size) == steps
    for epoch in (0, 1):
        seen = [step_indices(7, epoch * steps + step, count, batch_size) for step in range(steps)]
        assert sorted(chain(*seen)) == list(range(count))
        assert all(len(part) == batch_size for part in seen[:-1])


@pytest.mark.parametrize("budget", [1, 30, 60, 10_000])
def test_micro_batches_hold_each_group_once_within_the_budget_longest_first(budget, rng):
    groups = random_groups(rng, count=12)
    indices = [11, 0, 5, 3, 8, 2]
    parts = micro_batches(groups, indices, budget)
    assert sorted(chain(*parts)) == sorted(indices)
    sizes = [groups[index].tokens for index in chain(*parts)]
    assert sizes == sorted(sizes, reverse=True)
    for part in parts:
        assert len(part) == 1 or sum(groups[index].tokens for index in part) <= budget
