"""What a batch does not carry: a signal that its objective does not declare, and a column that the data
lacks; and its random numbers.
"""

from dataclasses import replace

import pytest
import torch

from alignkit import Batch, Prompt, Rollouts, UserError
from alignkit.batch import MissingSignal


@pytest.fixture
def batch():
    mask = torch.ones(2, 3, dtype=torch.bool)
    group = torch.zeros(2, dtype=torch.long)
    return Batch(
        torch.zeros(2, 3, dtype=torch.long),
        mask,
        group,
        {"rank": torch.tensor([0.0, 1.0])},
        {"scores": torch.zeros(2)},
    )


def test_a_column_that_the_data_lacks_is_the_users_mistake_and_says_what_there_is(batch):
    with pytest.raises(UserError, match="no column 'margin'; columns found: rank; signals: scores") as error:
        _ = batch.margin
    assert error.value.hint is not None
    assert "rename: {FOUND: margin}" in error.value.hint


def test_an_undeclared_signal_is_its_authors_mistake(batch):
    with pytest.raises(MissingSignal, match="Declare") as error:
        _ = batch.logps
    assert not isinstance(error.value, UserError)


def test_what_prepare_does_not_add_is_the_authors_mistake(batch):
    with pytest.raises(MissingSignal, match=r"`prepare` adds no 'returns'.*rewards") as error:
        _ = batch.with_(rewards=torch.zeros(2)).returns
    assert not isinstance(error.value, UserError)


def test_what_is_not_there_has_no_attribute(batch):
    assert hasattr(batch, "rank")
    assert not hasattr(batch, "margin")
    assert not hasattr(batch, "logps")


def rollouts(group, **signals):
    mask = torch.ones(len(group), 1, dtype=torch.bool)
    return Rollouts(mask.long(), mask, torch.tensor(group), signals=signals)


def test_means_and_deviations_of_groups_are_those_of_their_values():
    values = torch.tensor([1.0, 10, 2, 6, 20, 7], requires_grad=True)
    found = rollouts([0, 1, 0, 0, 1, 2])
    mean = found.group_mean(values)
    assert mean.tolist() == [3, 15, 3, 3, 15, 7]
    # (1, 2, 6): √((4 + 1 + 9) ÷ 2) and √(14 ÷ 3); (10, 20): √50 and 5; a value alone: 0
    three, two = 7**0.5, 50**0.5
    assert found.group_std(values).tolist() == pytest.approx([three, two, three, three, two, 0])
    biased = found.group_std(values, unbiased=False)
    three = (14 / 3) ** 0.5
    assert biased.tolist() == pytest.approx([three, 5, three, three, 5, 0])
    (gradient,) = torch.autograd.grad(mean[0], values)
    assert gradient.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3, 0, 0])


@pytest.mark.parametrize("value", [0.1, -0.7, 1 / 3, 1e4 / 3])
def test_equal_values_are_their_own_mean_and_have_no_deviation_at_all(value):
    for size in range(1, 12):
        values, found = torch.full((size,), value), rollouts([0] * size)
        assert torch.equal(found.group_mean(values), values)
        assert found.group_std(values).tolist() == [0] * size


def test_a_reward_that_the_stage_lacks_is_named():
    found = rollouts([0, 0], **{"reward_parts/right": torch.ones(2), "reward_parts/form": torch.zeros(2)})
    assert sorted(found.reward_parts) == ["form", "right"]
    with pytest.raises(UserError, match="no reward of this stage is called 'wrong'; found: form, right"):
        _ = found.reward_parts["wrong"]


def test_an_optional_column_is_found_in_loss_of_an_online_objective_too():
    found = rollouts([0, 0], difficulty=torch.tensor([0.5, 0.5]))
    assert found.get("difficulty").tolist() == [0.5, 0.5]
    assert found.get("weight") is None


def written(count):
    """Completions of two tokens, the second of which is padding where the number is odd, of two prompts."""
    mask = torch.tensor([[True, number % 2 == 0] for number in range(count)])
    tokens = torch.arange(1, 2 * count + 1).reshape(count, 2) * mask
    return Batch(tokens, mask, torch.arange(count) % 2, prompts=[Prompt([1]), Prompt([2])])


def test_random_numbers_depend_on_step_prompt_and_completion_alone():
    batch = written(6)
    numbers = batch.uniform()
    order = torch.tensor([4, 2, 5, 0, 1, 3])
    turned = Batch(  # in another order, with more padding and the prompts in turn
        torch.nn.functional.pad(batch.tokens[order], (0, 3), value=7),
        torch.nn.functional.pad(batch.mask[order], (0, 3)),
        1 - batch.group[order],
        prompts=[Prompt([2]), Prompt([1])],
    )
    assert turned.uniform().equal(numbers[order])
    assert not replace(batch, step=1, steps=2).uniform().eq(numbers).any()
    assert not replace(batch, prompts=[Prompt([3]), Prompt([4])]).uniform().eq(numbers).any()


def test_random_numbers_are_spread_evenly():
    count = 4000
    numbers = written(count).uniform()
    assert numbers.min() > 0
    assert numbers.max() < 1
    share = torch.histc(numbers, 10, 0, 1) / count
    assert (share - 0.1).abs().max() < 4 * (0.1 * 0.9 / count) ** 0.5  # four standard errors


@pytest.mark.parametrize(("unbiased", "slope"), [(True, 0.5**0.5), (False, 0.5)])
def test_the_deviation_of_equal_values_has_a_gradient_of_zero(unbiased, slope):
    values = torch.tensor([2.0, 1, 2, 3, 5], requires_grad=True)
    found = rollouts([0, 1, 0, 1, 2]).group_std(values, unbiased=unbiased)
    (gradient,) = torch.autograd.grad(found[[0, 1, 4]].sum(), values)  # each group once
    # of 1 and 3: the deviation is |b − a| ÷ √2, or |b − a| ÷ 2
    assert gradient.tolist() == pytest.approx([0, -slope, 0, slope, 0])


def test_the_mean_of_the_others_of_a_group_is_there_in_every_batch():
    group = torch.tensor([0, 1, 0, 0])
    batch = Batch(group[:, None], torch.ones(4, 1, dtype=torch.bool), group)
    assert batch.other_mean(torch.tensor([1.0, 9, 2, 6])).tolist() == [4, 0, 3.5, 1.5]


def test_a_misspelt_signal_is_told_the_name_that_it_is_near(batch):
    with pytest.raises(MissingSignal, match=r"Did you mean batch\.reference_logps\?"):
        _ = batch.refernce_logps
    with pytest.raises(MissingSignal, match=r"Did you mean batch\.critic_values\?"):
        _ = batch.with_(critic_values=torch.zeros(2, 3)).critc_values
    for exact in ("reference_logps", "old_logps", "teacher_logps"):
        with pytest.raises(MissingSignal, match="Declare") as error:
            getattr(batch.with_(logps=torch.zeros(2, 3)), exact)
        assert "mean" not in str(error.value)


def test_a_source_from_which_nothing_comes_is_refused_with_those_that_there_are():
    ones = torch.ones(2, 1)
    of = Batch(ones.long(), ones.bool(), torch.tensor([0, 0]), signals={"source": torch.tensor([0, 1])})
    known = replace(of, sources=("policy", "data"))
    assert known.sampled_from("data").tolist() == [False, True]
    with pytest.raises(UserError, match="no completions come from 'reference'; found: policy, data"):
        known.sampled_from("reference")
