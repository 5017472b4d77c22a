"""How a number is called."""

from alignkit import Metric


def test_a_metric_is_written_with_its_unit():
    assert str(Metric("length", "tokens")) == "length (tokens)"
    assert str(Metric("loss")) == "loss"


def test_a_metric_survives_being_written_down():
    for metric in (Metric("loss"), Metric("KL", "nats", divergence=True, detail=True)):
        assert Metric(**metric.to_dict()) == metric
    assert Metric("loss").to_dict() == {"label": "loss"}
