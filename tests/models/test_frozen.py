"""Signals of frozen roles are computed once, read back after a kill, and laid out as any micro-batch is."""

import pytest
import torch
from tiny_models import random_groups, shake, tiny_roles

from alignkit.models import frozen
from alignkit.models.computing import role_signals
from alignkit.models.frozen import FrozenSignals

BUDGET = 60


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(frozen, "SHARD", 3)


@pytest.fixture
def roles():
    """A reference and a reward model, both with weights of their own."""
    roles = tiny_roles()
    for name in ("reference", "reward"):
        roles.add(name, trainable=True)
        shake(roles, name)
    return roles


@pytest.fixture
def groups(rng):
    return random_groups(rng, count=8)


class Cache(FrozenSignals):
    """Notes what it was told and how far it came."""

    def __init__(self, folder, roles, groups, names=("reference", "reward")):
        self.notes, self.progress = [], []
        super().__init__(folder, roles, names, groups, BUDGET, self.notes.append)

    def fill(self, indices):
        self.compute(indices, lambda done, total: self.progress.append((done, total)))
        return self


def expected_of(roles, rows):
    """The signals as they are computed for these rows."""
    computed = {**role_signals(roles, "reference", rows), **role_signals(roles, "reward", rows)}
    return {name: value.detach() for name, value in computed.items()}


def test_signals_that_are_attached_are_those_that_would_be_computed(roles, groups, tmp_path):
    cache = Cache(tmp_path, roles, groups).fill(range(8))
    counts = [done for done, _ in cache.progress]
    assert counts == sorted(counts)
    assert {0, 3, 6, 8} < set(counts)  # the ends of the shards, and more within them
    assert {total for _, total in cache.progress} == {8}
    for part in ([0, 1, 2, 3, 4, 5, 6, 7], [7, 2], [4]):
        rows = roles.rows([groups[index] for index in part])
        found, expected = cache.attach(rows, part), expected_of(roles, rows)
        assert found.keys() == expected.keys() == {"reference_logps", "scores"}
        for name, value in expected.items():
            assert value.abs().max() > 0
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5)


def test_only_the_groups_that_are_asked_for_are_computed(roles, groups, tmp_path):
    cache = Cache(tmp_path, roles, groups).fill([5, 2, 5])
    assert cache.progress[-1] == (2, 2)
    rows = roles.rows([groups[5], groups[2]])
    torch.testing.assert_close(cache.attach(rows, [5, 2])["scores"], expected_of(roles, rows)["scores"])


def test_a_killed_pass_goes_on_at_the_first_shard_that_is_missing(roles, groups, tmp_path, monkeypatch):
    computed, calls = frozen.compute_signals, []

    def dies_at_the_third(*arguments, **options):
        calls.append(len(arguments[1]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return computed(*arguments, **options)

    monkeypatch.setattr(frozen, "compute_signals", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path, roles, groups).fill(range(8))
    again = Cache(tmp_path, roles, groups).fill(range(8))
    assert calls == [3, 3, 2, 2]
    assert again.progress[0] == (6, 8)  # what was there is no work of this process
    assert not again.notes
    whole = Cache(tmp_path / "whole", roles, groups).fill(range(8))
    rows = roles.rows(groups)
    for name, value in whole.attach(rows, range(8)).items():
        assert torch.equal(again.attach(rows, range(8))[name], value)


def test_a_damaged_shard_is_named_and_computed_again(roles, groups, tmp_path):
    Cache(tmp_path, roles, groups).fill([0, 1])
    (shard,) = tmp_path.rglob("*.safetensors")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-8] + bytes(8))
    again = Cache(tmp_path, roles, groups).fill([0, 1])
    (note,) = again.notes
    assert str(shard.parent) in note
    assert "are damaged (the SHA-256 of tensors.safetensors" in note
    assert shard.read_bytes() == whole


def test_without_roles_there_is_nothing_to_compute_and_nothing_to_attach(roles, groups, tmp_path):
    cache = Cache(tmp_path / "signals", roles, groups, names=()).fill(range(8))
    assert not (tmp_path / "signals").exists()
    assert cache.attach(roles.rows(groups), range(8)) == {}
