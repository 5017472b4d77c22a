"""Random cases have the shape of the data and the signals that an objective declares."""

import pytest
import torch
from made_objectives import Sound, SoundOnline, offline, summed

from alignkit import Demonstrations, Loss, Preferences, Stepwise
from alignkit.signals import BUILT_IN, KINDS, signals_of
from alignkit.testing import check_objective
from alignkit.testing.cases import GROUPS, make_case, padded


def test_on_demonstrations_every_prompt_has_one_completion():
    sizes = []

    def loss(batch):
        sizes.extend(torch.bincount(batch.group).tolist())
        return Loss(-summed(batch))

    check_objective(offline(loss, data=Demonstrations))
    assert set(sizes) == {1}


def test_what_is_known_before_loss_and_what_is_trained_are_what_is_declared():
    offline_case, online_case = make_case(Sound(), 0, ()), make_case(SoundOnline(), 0, ())

    assert set(offline_case.given.signals) == {"reference_logps"}
    assert set(offline_case.leaves) == {"logps", "entropy"}
    assert set(online_case.given.signals) == {
        "logps",
        "rewards",
        "reward_parts/first",
        "reward_parts/second",
        "sampler_logps",
        "source",
    }
    assert set(online_case.leaves) == {"logps"}


def test_rewards_are_the_weighted_sum_of_parts_that_differ():
    given = make_case(SoundOnline(), 0, ()).given

    first, second = given.reward_parts.values()
    weights = given.reward_weights
    assert torch.allclose(given.rewards, weights["first"] * first + weights["second"] * second)
    assert torch.stack([first, second]).corrcoef()[0, 1].abs() < 0.95


def test_rewards_of_odd_seeds_are_spread_over_the_tokens():
    given = make_case(SoundOnline(), 1, ()).given

    assert torch.allclose(given.token_rewards.sum(-1), given.rewards, atol=1e-5)
    assert not given.token_rewards[~given.mask].any()
    assert not torch.equal(given.token_rewards, given.at_end(given.rewards))
    assert "token_rewards" not in make_case(SoundOnline(), 0, ()).given.signals


def test_columns_of_rollouts_are_one_number_per_prompt():
    given = make_case(SoundOnline(), 0, {"difficulty"}).given

    for number in given.group.unique():
        assert len(given.difficulty[given.group == number].unique()) == 1


def test_every_signal_that_a_role_computes_can_be_made():
    everything = offline(
        lambda b: Loss(-summed(b)),
        trains={"policy", "reward", "value"},
        reads={"reference"},
        entropy=True,
    )
    case = make_case(everything, 0, ())
    found = {**case.given.signals, **case.leaves}

    per_token = {
        signal: KINDS[role.kind].per_token
        for name, role in BUILT_IN.items()
        for signal in signals_of(name, role.kind, entropy=True)
    }
    assert set(found) == set(per_token)
    for name, value in found.items():
        assert value.shape == (case.given.mask.shape if per_token[name] else case.given.group.shape)
        if value.ndim == 2:
            assert not value[~case.given.mask].any()


@pytest.mark.parametrize("seed", range(4))
def test_rankings_have_two_to_four_completions_and_never_ties_alone(seed):
    case = make_case(offline(lambda b: Loss(-summed(b)), data=Preferences), seed, {"weight"})
    group, rank = case.given.group, case.given.rank

    assert set(group.tolist()) == set(range(GROUPS))
    assert set(torch.bincount(group).tolist()) <= {2, 3, 4}
    for number in range(GROUPS):
        assert len(set(rank[group == number].tolist())) > 1
        assert len(set(case.given.weight[group == number].tolist())) == 1


@pytest.mark.parametrize("seed", range(4))
def test_steps_have_numbers_of_tokens_and_end_with_the_completion(seed):
    case = make_case(offline(lambda b: Loss(-summed(b)), data=Stepwise), seed, ())
    given = padded(case.given, 3)
    last = given.at_end(torch.ones(len(given)))

    assert torch.bincount(given.group).tolist() == [1] * GROUPS
    assert given.step_end.shape == given.label.shape == given.mask.shape
    assert ((last == 1) <= (given.step_end == 1)).all()
    assert (given.step_end <= given.mask).all()
    assert (given.label <= given.step_end).all()
    assert 0 < given.label.sum() < given.step_end.sum()


def test_rollouts_have_steps_where_a_separator_is_declared():
    class InSteps(SoundOnline):
        step_separator = "\n"

    given = make_case(InSteps(), 0, ()).given
    assert (given.step_end <= given.mask).all()
    assert given.step_end.sum() > len(given)
    assert "step_end" not in make_case(SoundOnline(), 0, ()).given.signals


def test_a_completions_first_token_is_its_number_in_any_layout():
    case = make_case(Sound(), 1, ())
    order = torch.arange(len(case.given)).flip(0)
    wide = padded(case.given.select(order), 3)

    assert wide.tokens[:, 0].tolist() == order.tolist()
    assert wide.mask.shape[1] == case.given.mask.shape[1] + 3
    assert not wide.mask[:, -3:].any()
    assert torch.equal(wide.signals["reference_logps"][:, :-3], case.given.signals["reference_logps"][order])
