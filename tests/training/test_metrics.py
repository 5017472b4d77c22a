"""How the numbers of a training stage are called."""

from alignkit import Metric, Objective, Preferences
from alignkit.training.metrics import metrics_of, prefix_of


class One(Objective):
    name = "one"
    data = Preferences
    metrics = {"margin": Metric("margin", "nats", detail=True)}


class Two(One):
    name = "two"
    metrics = {}


def test_a_lone_objectives_metrics_have_plain_names_and_their_units():
    found = metrics_of([One()], ["length"])
    assert str(found["margin"]) == "margin (nats)"
    assert str(found["rewards/length"]) == "length"
    assert str(found["rollouts/length"]) == "length (tokens)"
    assert "learning_rate" in found


def test_in_a_mixture_the_objectives_name_stands_before_its_metrics():
    found = metrics_of([One(), Two()], [])
    assert "margin" not in found
    assert found["one/margin"] == One.metrics["margin"]
    assert "two/loss" in found
    assert prefix_of(One(), 2) == "one/"
    assert prefix_of(One(), 1) == ""
