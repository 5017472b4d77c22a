"""What an optimizer's author writes, and the groups that the engine makes for one."""

import pytest
import torch
from torch import nn

from alignkit import Optimizer, TrainedParameter, UserError, parameter_groups
from alignkit.registry import Registry


def trained(role, part, rate, decay=0.0):
    return TrainedParameter(role, f"layer.{part}", part, nn.Parameter(torch.zeros(2)), rate, decay)


def test_parameters_of_one_rate_make_one_group_in_their_order():
    given = [trained("policy", part, 1e-3, 0.1) for part in "ABAB"]
    (group,) = parameter_groups(given)
    assert all(found is one.parameter for found, one in zip(group["params"], given, strict=True))
    assert (group["lr"], group["weight_decay"]) == (1e-3, 0.1)


def test_rates_of_roles_and_faster_parameters_make_groups_of_their_own():
    given = [trained("policy", "A", 1.0), trained("policy", "B", 1.0), trained("value", "A", 3.0)]
    groups = parameter_groups(given, lambda one: 2.0 if one.part == "B" else 1.0)
    assert [group["lr"] for group in groups] == [1.0, 2.0, 3.0]
    assert [group["params"][0] is one.parameter for group, one in zip(groups, given, strict=True)] == [
        True
    ] * 3


def test_a_class_without_make_says_so():
    class Empty(Optimizer):
        name = "empty"

    with pytest.raises(NotImplementedError, match="Empty defines no `make`"):
        Empty().make([])


def test_what_is_no_optimizer_is_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from alignkit import hookimpl\n@hookimpl\ndef register_optimizers(register): register(3)\n"
    )
    with pytest.raises(UserError, match=r"3 as an optimizer; a subclass of alignkit\.Optimizer"):
        Registry([file])
