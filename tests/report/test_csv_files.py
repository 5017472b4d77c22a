"""The page's numbers as CSV."""

import base64
import csv
import io
import math

from fake_run import make_record

from alignkit.evaluation.statistics import Interval
from alignkit.report.csv_files import evaluation_sheet, metrics_sheet
from alignkit.report.records import Evaluation


def read(sheet):
    return list(csv.DictReader(io.StringIO(sheet.text)))


def test_an_evaluation_has_a_row_for_each_target_and_seed_with_both_ends():
    values = {"sentiment": Interval(0.5, 0.25, 0.75, 40), "error": Interval(0.1, math.nan, math.nan, 40)}
    seeds = {"dpo": {"dpo-seed-1": {"sentiment": Interval(0.375, 0.25, 0.5, 40)}}}
    sheet = evaluation_sheet("compare", Evaluation("policies", "x", {"dpo": values}, each=seeds))
    target, seed = read(sheet)
    assert sheet.name == "compare.csv"
    assert (target["target"], target["seed_of"], target["sentiment"]) == ("dpo", "", "0.5")
    assert (target["sentiment low"], target["sentiment high"], target["sentiment count"]) == (
        "0.25",
        "0.75",
        "40",
    )
    assert (target["error"], target["error low"]) == ("0.1", "")
    assert (seed["target"], seed["seed_of"], seed["sentiment"], seed["error"]) == (
        "dpo-seed-1",
        "dpo",
        "0.375",
        "",
    )


def test_a_training_has_a_row_for_each_step_of_each_seed_and_empty_cells_where_nothing_was_measured():
    stage = make_record({"loss": 0.5}, {"loss": 0.25, "held_out/loss": 0.75})
    rows = read(metrics_sheet("s", [stage, stage]))
    assert [(row["stage"], row["step"], row["loss"], row["held_out/loss"]) for row in rows] == [
        ("s", "1", "0.5", ""),
        ("s", "2", "0.25", "0.75"),
    ] * 2


def test_the_file_is_in_its_address():
    sheet = metrics_sheet("s", [make_record({"loss": 0.5})])
    head, _, body = sheet.data_uri.partition(",")
    assert head == "data:text/csv;base64"
    assert base64.b64decode(body).decode() == sheet.text
