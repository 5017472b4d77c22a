"""What `run` says of the page when a run is done; whole runs are in tests/test_pipeline.py."""

from pathlib import Path

from fake_run import offline_metrics, write_train

from alignkit.commands.run import _next, _report
from alignkit.recipe import load_recipe
from alignkit.registry import Registry
from alignkit.stages.plan import make_plan


def test_the_page_is_written_and_named(tmp_path):
    write_train(tmp_path, "sft", "sft", offline_metrics(2, pairs=False))

    assert _report(tmp_path) == f"Report: {tmp_path / 'report.html'}"
    assert (tmp_path / "report.html").is_file()


def test_a_page_that_cannot_be_written_is_told_and_fails_nothing(tmp_path):
    assert _report(tmp_path).startswith("The report could not be written: UserError: ")


def test_what_to_type_next_is_a_chat_with_the_policy_that_was_trained_last():
    recipes, registry = Path(__file__).parents[2] / "recipes", Registry()
    for name, policy in (("demo", ["dpo"]), ("tour", ["ppo"]), ("reward-model", [])):
        plan = make_plan(load_recipe(recipes / f"{name}.yaml", []), registry, recipes)
        assert _next(plan, registry, Path("runs")) == [
            f"Next: alignkit sample runs/{each}" for each in policy
        ]
