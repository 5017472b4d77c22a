"""What is drawn of a training stage."""

from fake_run import METRICS, make_record

from alignkit.measure import Metric
from alignkit.report.figures import looks
from alignkit.report.training_pictures import compared_with_length, curves


def test_metrics_beyond_the_panels_are_counted_in_the_caption():
    many = make_record({"loss": 1.0, **{f"policy/{number}": 1.0 for number in range(16)}})
    picture = curves(many, looks(["s"])["s"])
    assert picture is not None
    assert "2 further metrics are in metrics.jsonl" in picture.caption  # 17, of which 15 have a panel


def test_before_the_first_step_nothing_is_drawn():
    assert curves(make_record(), looks(["s"])["s"]) is None


def test_length_alone_is_drawn_where_shares_of_pairs_are_drawn_whatever_their_names():
    theirs = {"theirs/right": Metric("right", "share of pairs")}
    stage = make_record(metrics=METRICS | theirs)
    names = ["loss", "rewards/accuracies", "theirs/right", "theirs/accuracy"]
    assert compared_with_length(stage, names) == ["rewards/accuracies", "theirs/right"]
