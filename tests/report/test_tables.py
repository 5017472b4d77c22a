"""The table of an evaluation."""

import math

from fake_run import MEASURES

from alignkit.evaluation.statistics import Interval
from alignkit.measure import Metric
from alignkit.report.records import Evaluation
from alignkit.report.tables import make_table


def exactly(mean):
    """Return a number without an interval."""
    return Interval(mean, math.nan, math.nan, 10)


def evaluation(targets, measures=MEASURES, **more):
    return Evaluation("policies", "prompts", targets, measures, rewards=("sentiment", "reward"), **more)


def test_rewards_come_first_then_the_others_in_the_order_of_the_file():
    names = ["theirs", "length", "kl", "win_rate/sentiment", "reward", "sentiment"]
    table = make_table(evaluation({"sft": {name: exactly(1.0) for name in names}}))
    assert table.columns == (
        "sentiment",
        "reward",
        "win rate against base, sentiment",
        "KL to the reference (nats per completion)",
        "length (tokens)",
        "theirs",
    )


def test_a_measure_of_a_third_party_has_its_unit():
    measures = MEASURES | {"theirs": Metric("their measure", "shares")}
    assert make_table(evaluation({"sft": {"theirs": exactly(1.0)}}, measures)).columns == (
        "their measure (shares)",
    )


def best_of(targets, **more):
    """The targets whose sentiment is marked."""
    table = make_table(evaluation({name: {"sentiment": value} for name, value in targets.items()}, **more))
    return [row.target for row in table.rows if row.cells[0] and row.cells[0].best]


def test_the_highest_mean_of_a_reward_is_marked_where_its_interval_overlaps_no_other():
    low, middle = Interval(0.1, 0.0, 0.2, 10), Interval(0.3, 0.1, 0.5, 10)
    assert best_of({"base": low, "sft": Interval(0.3, 0.21, 0.5, 10)}) == ["sft"]
    assert best_of({"base": low, "sft": middle}) == []
    # apart from the second, and not from the third, whose interval is wide
    assert (
        best_of({"base": Interval(0.1, 0.0, 0.9, 10), "sft": middle, "dpo": Interval(0.7, 0.6, 0.8, 10)})
        == []
    )


def test_a_number_alone_or_without_an_interval_is_not_marked():
    assert best_of({"sft": Interval(0.3, 0.2, 0.4, 10)}) == []
    assert best_of({"base": exactly(0.1), "sft": exactly(0.3)}) == []


def test_what_is_no_reward_is_never_marked():
    lengths = {"base": {"length": Interval(30, 29, 31, 10)}, "sft": {"length": Interval(40, 39, 41, 10)}}
    assert not any(cell and cell.best for row in make_table(evaluation(lengths)).rows for cell in row.cells)


def test_of_reward_models_the_highest_accuracy_is_marked():
    targets = {
        name: {"accuracy": Interval(mean, mean - 0.01, mean + 0.01, 10)}
        for name, mean in (("a", 0.6), ("b", 0.7))
    }
    table = make_table(Evaluation("reward models", "pairs", targets))
    assert [row.cells[0] and row.cells[0].best for row in table.rows] == [False, True]


def test_the_rows_of_seeds_stand_apart_on_the_scale_of_their_column_and_none_is_the_best():
    targets = {"base": {"length": exactly(10.0)}, "sft": {"length": exactly(20.0)}}
    seeds = {"sft": {"sft-seed-1": {"length": exactly(10.0)}, "sft-seed-2": {"length": exactly(30.0)}}}
    table = make_table(evaluation(targets, each=seeds))
    assert [row.target for row in table.rows] == ["base", "sft"]
    assert {row.target: row.cells[0] and row.cells[0].middle for row in table.seeds} == {
        "sft-seed-1": 4.0,
        "sft-seed-2": 96.0,
    }
    assert table.rows[1].cells[0] is not None
    assert table.rows[1].cells[0].middle == 50.0


def test_a_column_has_one_scale_and_one_number_of_decimals():
    targets = {
        "base": {"length": Interval(9.0, 8.0, 10.0, 10)},
        "sft": {"length": Interval(25.0, 20.0, 28.0, 10)},
    }
    first, second = (row.cells[0] for row in make_table(evaluation(targets)).rows)
    assert first is not None
    assert second is not None
    assert (first.mean, first.interval) == ("9.0", "8.0 to 10.0")  # three digits of 28.0, the largest
    assert (second.mean, second.interval) == ("25.0", "20.0 to 28.0")
    # The scale goes from 8 to 28, of which the page shows 4 to 96.
    assert (first.left, first.middle, first.right) == (4.0, 4 + 92 * 1 / 20, 4 + 92 * 2 / 20)
    assert second.right == 96.0


def test_a_mean_over_nothing_is_a_dash_and_a_missing_measure_has_no_cell():
    targets = {"base": {"sentiment": exactly(math.nan)}, "sft": {"reward": exactly(2.0)}}
    base, sft = make_table(evaluation(targets)).rows
    assert base.cells[0] is not None
    assert (base.cells[0].mean, base.cells[1]) == ("–", None)
    assert sft.cells[0] is None
    assert sft.cells[1] is not None
    assert (sft.cells[1].mean, sft.cells[1].interval) == ("2.00", "")
