"""An adapter's matrix of which a part is frozen: one weight to whoever reads it, saves it or loads it."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from alignkit.models.partly_frozen import PartlyFrozen

TRAINED, FROZEN = torch.randn(2, 5), torch.randn(3, 5)


@pytest.mark.parametrize("dim", [0, 1])
def test_it_computes_with_the_joined_weight_and_trains_only_the_first_part(dim):
    parts = (TRAINED, FROZEN) if dim == 0 else (TRAINED.T, FROZEN.T)
    layer, joined = PartlyFrozen(*parts, dim=dim), torch.cat(parts, dim).requires_grad_()
    x = torch.randn(4, joined.shape[1])
    layer(x).square().sum().backward()
    functional.linear(x, joined).square().sum().backward()
    assert torch.equal(layer.weight, joined)
    ((name, parameter),) = layer.named_parameters()
    assert name == "trained"
    torch.testing.assert_close(parameter.grad, joined.grad.narrow(dim, 0, 2))


def test_it_is_saved_and_loaded_as_a_linear_layer():
    layer = PartlyFrozen(TRAINED, FROZEN, dim=0)
    plain = nn.Linear(5, 5, bias=False)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(plain.weight, layer.weight)
    other = PartlyFrozen(torch.zeros(2, 5), torch.zeros(3, 5), dim=0)
    other.load_state_dict(plain.state_dict())
    assert torch.equal(other.trained, TRAINED)
    assert torch.equal(other.frozen, FROZEN)


def test_without_a_trained_part_it_has_no_parameter():
    layer = PartlyFrozen(None, FROZEN, dim=0)
    assert not list(layer.parameters())
    layer.load_state_dict({"weight": 2 * FROZEN})
    assert torch.equal(layer.weight, 2 * FROZEN)


@pytest.mark.parametrize(
    ("state", "words"), [({}, "Missing key"), ({"weight": torch.zeros(4, 5)}, "size mismatch for weight")]
)
def test_a_weight_that_is_missing_or_does_not_fit_is_refused(state, words):
    with pytest.raises(RuntimeError, match=words):
        PartlyFrozen(TRAINED, FROZEN, dim=0).load_state_dict(state)


def test_it_keeps_no_hold_of_the_tensors_that_it_was_made_of():
    frozen = FROZEN.clone()
    PartlyFrozen(TRAINED, frozen, dim=0).load_state_dict({"weight": torch.zeros(5, 5)})
    assert torch.equal(frozen, FROZEN)
