"""`evaluation.json`, with and without seeds."""

import json
import math

from fake_run import interval

from alignkit.report.evaluation_file import read_evaluation


def write(path, **more):
    raw = {"kind": "policies", "on": "x", "measures": {"kl": {"label": "KL", "divergence": True}}}
    path.write_text(json.dumps({**raw, "targets": {"dpo": {"kl": interval(1.5, 0.5, 3)}}, **more}))
    found = read_evaluation(path)
    assert found is not None
    return found


def test_the_seeds_of_a_target_are_read_beside_their_mean(tmp_path):
    each = {"dpo": {"dpo-seed-1": {"kl": interval(1.25, 0.5)}, "dpo-seed-2": {"kl": interval(1.75, 0.5)}}}
    found = write(tmp_path / "evaluation.json", each=each)
    assert found.targets["dpo"]["kl"].mean == 1.5
    assert [row["kl"].mean for row in found.each["dpo"].values()] == [1.25, 1.75]


def test_without_seeds_there_are_none_and_null_is_no_number(tmp_path):
    nothing = {"mean": None, "low": None, "high": None, "count": 0}
    found = write(tmp_path / "evaluation.json", targets={"dpo": {"kl": nothing}})
    assert found.each == {}
    assert math.isnan(found.targets["dpo"]["kl"].mean)


def test_no_file_is_no_evaluation(tmp_path):
    assert read_evaluation(tmp_path / "evaluation.json") is None
