"""What a batch does not carry: a signal that its objective does not declare, and a column that the data
lacks; and its random numbers.
"""

from dataclasses import replace

import pytest
import torch

from alignkit import Batch, Prompt, UserError
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
