"""What a batch does not carry: a signal that its objective does not declare, and a column that the data
lacks.
"""

import pytest
import torch

from alignkit import Batch, UserError
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
