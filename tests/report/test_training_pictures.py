"""What is drawn of a training stage."""

from fake_run import METRICS, make_record

from alignkit.measure import Metric
from alignkit.report.figures import looks
from alignkit.report.training_pictures import compared_with_length, curves

LOOK = looks(["s"])["s"]


def test_metrics_beyond_the_panels_are_counted_in_the_caption():
    records = [{"loss": 1.0 / n, **{f"policy/{number}": n + number for number in range(25)}} for n in (1, 2)]
    picture, _ = curves("s", [make_record(*records)], LOOK)
    assert picture is not None
    assert "2 further metrics are in the CSV file" in picture.caption  # 26, of which 24 have a panel


def test_before_the_first_step_nothing_is_drawn():
    assert curves("s", [make_record()], LOOK) == (None, None)


def test_details_are_a_picture_of_their_own():
    shown, folded = curves("s", [make_record({"loss": 1.0, "grad_norm": 1.0, "logps/chosen": -3.0})], LOOK)
    assert shown is not None
    assert folded is not None
    assert [panel.name for panel in shown.panels] == ["s-loss"]
    assert [panel.name for panel in folded.panels] == ["s-logps-chosen", "s-grad_norm"]


def lines_of(*stages):
    picture, _ = curves("s", stages, LOOK)
    assert picture is not None
    return picture.panels[0].svg.count("stroke: var(--blue)"), picture.caption


def test_seeds_share_a_picture_with_a_line_each_and_their_mean():
    seeds = [make_record(*({"loss": k / n} for n in range(1, 6))) for k in (1, 2, 3)]
    one, _ = lines_of(seeds[0])
    all_of_them, caption = lines_of(*seeds)
    assert all_of_them - one == 3
    assert "3 seeds" in caption


def test_length_alone_is_drawn_where_shares_of_pairs_are_drawn_whatever_their_names():
    theirs = {"theirs/right": Metric("right", "share of pairs")}
    stage = make_record(metrics=METRICS | theirs)
    names = ["loss", "rewards/accuracies", "theirs/right", "theirs/accuracy"]
    assert compared_with_length(stage, names) == ["rewards/accuracies", "theirs/right"]
