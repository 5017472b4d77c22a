"""The optimizer, the observers and the learning rates of a stage."""

import pytest

from alignkit import UserError
from alignkit.recipe import ObserverTerm, OptimizerTerm
from alignkit.registry import Registry
from alignkit.stages.train.lookup import find_observers, find_optimizer, require_rates


@pytest.fixture(scope="module")
def registry():
    return Registry()


def observers(*raw):
    return tuple(ObserverTerm(**fields) for fields in ObserverTerm.read(list(raw)))


def test_they_are_made_with_their_options(registry):
    optimizer = find_optimizer(
        (OptimizerTerm(optimizer="lora-plus", options={"ratio": 8}),), registry, "optimizer"
    )
    assert (optimizer.name, optimizer.model_dump()) == ("lora-plus", {"ratio": 8.0})
    alarm, stopping = find_observers(
        observers({"kl-alarm": {"limit": 3}}, "early-stopping"), registry, "observers"
    )
    assert (alarm.model_dump()["limit"], stopping.name) == (3.0, "early-stopping")


@pytest.mark.parametrize(
    ("raw", "where", "words"),
    [
        (["early-stoping"], "x", "Did you mean 'early-stopping'"),
        ([{"early-stopping": {"patiense": 3}}], "x.early-stopping.patiense", "Did you mean 'patience'"),
        (["kl-alarm"], "x.kl-alarm.limit", "required and missing"),
        (["early-stopping", "early-stopping"], "x", "names 'early-stopping' twice"),
    ],
)
def test_observers_that_do_not_exist_or_stand_twice_are_refused(registry, raw, where, words):
    with pytest.raises(UserError, match=words) as caught:
        find_observers(observers(*raw), registry, "x")
    assert caught.value.where == where


def test_an_optimizer_that_does_not_exist_is_refused_with_the_nearest(registry):
    with pytest.raises(UserError, match="no optimizer is registered as 'adam'") as caught:
        find_optimizer((OptimizerTerm(optimizer="adam"),), registry, "x")
    assert "Did you mean 'adamw'" in str(caught.value)


@pytest.mark.parametrize(
    ("rates", "where", "words"),
    [
        ({"policy": 1.0}, "x", "the trained role 'value' has no learning rate"),
        (
            {"policy": 1.0, "valu": 1.0},
            "x.valu",
            r"the stage trains no role 'valu'\nDid you mean 'value'",
        ),
    ],
)
def test_rates_must_name_the_trained_roles_and_no_others(rates, where, words):
    with pytest.raises(UserError, match=words) as caught:
        require_rates(rates, {"policy", "value"}, "x")
    assert caught.value.where == where


def test_one_rate_holds_for_all_and_a_whole_mapping_is_accepted():
    require_rates(1.0, {"policy"}, "x")
    require_rates({"value": 2.0, "policy": 1.0}, {"policy", "value"}, "x")
