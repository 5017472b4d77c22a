"""Plugins say how their numbers are called: every metric that an objective reports, and every measure."""

import pytest
import torch
from made_rollouts import at_loss, moved, random_rollouts

from alignkit import Metric, OnlineObjective
from alignkit.registry import Registry
from alignkit.testing.cases import make_case

REGISTRY = Registry()
OPTIONS = {"ppo": {"entropy_coef": 0.1}, "reinforce": {"clip": 0.2}}
DIVERGENCE = Metric("KL to the reference", "nats per completion", divergence=True)


def reported(objective):
    """The names of the metrics that `loss` reports."""
    if isinstance(objective, OnlineObjective):
        prepared = objective.prepare(random_rollouts(0))
        batch = at_loss(prepared, **moved(prepared), entropy=torch.ones(prepared.mask.shape))
    else:
        case = make_case(objective, 0, ())
        batch = case.given.with_(**case.leaves)
    return set(objective.loss(batch).metrics or {})


@pytest.mark.parametrize("name", REGISTRY.objectives.items)
def test_every_metric_that_is_reported_is_declared_and_no_other(name):
    objective = REGISTRY.objectives.items[name](**OPTIONS.get(name, {}))

    assert reported(objective) == set(objective.metrics)


@pytest.mark.parametrize("name", REGISTRY.objectives.items)
def test_what_a_running_stage_does_not_show_is_a_detail(name):
    quiet = ("logps/", "objective/", "policy/", "val/")
    for metric_name, metric in REGISTRY.objectives.items[name].metrics.items():
        shown = not metric_name.startswith(quiet) or metric_name == "objective/kl"
        assert metric.detail == (not shown), metric_name


def test_the_divergence_from_the_reference_is_marked():
    assert REGISTRY.objectives.items["ppo"].metrics["objective/kl"] == DIVERGENCE
    assert REGISTRY.objectives.items["reinforce"].metrics["objective/kl"] == DIVERGENCE
    assert REGISTRY.measures.items["kl"].metric == DIVERGENCE


@pytest.mark.parametrize("name", ["bradley-terry", "dpo"])
def test_the_accuracy_has_its_unit(name):
    assert str(REGISTRY.objectives.items[name].metrics["rewards/accuracies"]) == "accuracy (share of pairs)"
