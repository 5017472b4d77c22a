"""One page that compares runs."""

import shutil

import pytest
from fake_run import offline_metrics, policy_measures, write_evaluation, write_train

from alignkit.errors import UserError
from alignkit.report.comparing import differing, join, write_comparison
from alignkit.report.reading import read_run
from alignkit.run.folder import RunFolder
from alignkit.run.kept_recipe import KeptRecipe, keep_recipe


def make(run, reward, **planned):
    targets = {"base": policy_measures(0.1, 0.1, 0.0, 44), "dpo": policy_measures(0.4, reward, 6.5, 37)}
    write_evaluation(run, "compare", targets, reads=[])
    keep_recipe(RunFolder(run), KeptRecipe(("compare",), {"name": run.name, **planned}))
    return run


@pytest.fixture
def runs(tmp_path):
    one = make(tmp_path / "one", 1.1, seed=0, stages={"dpo": {"beta": 0.1, "steps": 14}})
    two = make(tmp_path / "two", 2.6, seed=0, stages={"dpo": {"beta": 0.5, "steps": 14}, "ppo": {"steps": 3}})
    return [one, two]


def test_targets_are_named_by_their_run_and_share_a_table(runs, tmp_path):
    html = write_comparison(runs, tmp_path / "report.html").read_text()
    for name in ("one/base", "two/base", "one/dpo", "two/dpo"):
        assert name in html
    assert html.count('class="picture"') == 2  # two rewards
    assert '<td class="best"><b>2.60</b>' in html


def test_the_settings_that_differ_are_listed_and_no_others(runs):
    records = {run.name: read_run(run) for run in runs}
    assert differing(records) == [
        ("stages.dpo.beta", ["0.1", "0.5"]),
        ("stages.ppo.steps", ["–", "3"]),
    ]


def test_runs_of_one_name_are_told_apart_by_the_folder_above(runs, tmp_path):
    for place in ("a", "b"):
        shutil.copytree(runs[0], tmp_path / place / "tour")
    html = write_comparison(
        [tmp_path / "a" / "tour", tmp_path / "b" / "tour"], tmp_path / "x.html"
    ).read_text()
    assert "a/tour/dpo" in html
    assert "b/tour/dpo" in html
    with pytest.raises(UserError, match="two of these runs are called"):
        write_comparison([runs[0], runs[0]], tmp_path / "x.html")


def test_evaluations_that_measured_something_else_are_told(runs, tmp_path):
    file = runs[1] / "compare" / "evaluation.json"
    file.write_text(file.read_text().replace('"prompts": 64', '"prompts": 40'))
    html = write_comparison(runs, tmp_path / "report.html").read_text()
    assert "The evaluations differ in `prompts`: 64 in one and 40 in two." in html


def test_the_reference_is_that_of_the_first_run_and_seeds_keep_their_targets(runs):
    first = read_run(runs[0]).stages[0].evaluation
    assert first is not None
    joined = join({"one": first, "two": first})
    assert joined.against == "one/base"
    assert list(joined.targets) == ["one/base", "one/dpo", "two/base", "two/dpo"]


def test_runs_without_an_evaluation_cannot_be_compared(tmp_path):
    for name in ("one", "two"):
        write_train(tmp_path / name, "sft", "sft", offline_metrics(2, pairs=False))
    with pytest.raises(UserError, match="nothing to compare"):
        write_comparison([tmp_path / "one", tmp_path / "two"], tmp_path / "report.html")
