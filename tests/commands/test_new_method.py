"""The objective that `new-plugin` writes, before its names are replaced."""

import pytest
import torch

from alignkit import Batch
from alignkit.commands.new_method import NewMethod
from alignkit.testing import check_objective


def test_it_conforms():
    check_objective(NewMethod(beta=0.5), columns={"weight"})


@pytest.mark.parametrize(("beta", "expected"), [(0.5, 1 - 0.5 * 1.5), (1.0, 0.0)])
def test_its_loss_is_a_hinge_on_the_margin_of_log_ratios(beta, expected):
    # log-ratios: -1 - (-2) = 1 and -3 - (-2.5) = -0.5, so the margin before β is 1.5.
    batch = Batch(
        torch.zeros(2, 1, dtype=torch.long),
        torch.ones(2, 1, dtype=torch.bool),
        torch.zeros(2, dtype=torch.long),
        {"rank": torch.tensor([0.0, 1.0])},
        {"logps": torch.tensor([[-1.0], [-3.0]]), "reference_logps": torch.tensor([[-2.0], [-2.5]])},
    )
    loss = NewMethod(beta=beta).loss(batch)

    assert loss.terms.tolist() == pytest.approx([expected])
    assert set(loss.metrics or {}) == set(NewMethod.metrics)
