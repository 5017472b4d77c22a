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


def test_the_highest_mean_of_a_reward_is_marked_and_of_nothing_else():
    table = make_table(
        evaluation(
            {
                "base": {"sentiment": Interval(0.1, 0.0, 0.2, 10), "length": exactly(30.0)},
                "sft": {"sentiment": Interval(0.3, 0.1, 0.5, 10), "length": exactly(40.0)},
            }
        )
    )
    assert {row.target: [cell and cell.best for cell in row.cells] for row in table.rows} == {
        "base": [False, False],
        "sft": [True, False],
    }
    alone = make_table(evaluation({"sft": {"sentiment": exactly(0.3)}}))
    assert [cell and cell.best for cell in alone.rows[0].cells] == [False]


def test_of_reward_models_the_highest_accuracy_is_marked():
    targets = {name: {"accuracy": exactly(mean)} for name, mean in {"a": 0.6, "b": 0.7}.items()}
    table = make_table(Evaluation("reward models", "pairs", targets))
    assert [row.cells[0] and row.cells[0].best for row in table.rows] == [False, True]


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
