"""What is read of a run's folder, and what is refused."""

import json

import pytest
from fake_run import offline_metrics, policy_measures, write_evaluation, write_stage, write_train

from alignkit.errors import UserError
from alignkit.report.page import write_report
from alignkit.report.reading import read_run
from alignkit.run.folder import RunFolder
from alignkit.run.kept_recipe import KeptRecipe, keep_recipe


def test_folders_that_an_earlier_recipe_left_may_read_each_other(tmp_path):
    write_stage(tmp_path, "a", "sample", settings={"sample": "b", "on": "x"}, reads=["b"])
    write_stage(tmp_path, "b", "sample", settings={"sample": "a", "on": "x"}, reads=["a"])
    assert read_run(tmp_path).names == ("a", "b")
    assert write_report(tmp_path).is_file()


def test_stages_come_after_those_they_read_whatever_their_names(tmp_path):
    write_stage(tmp_path, "a", "sample", reads=["c", "prompts"])
    write_stage(tmp_path, "b", "label", reads=["a"])
    write_stage(tmp_path, "c", "train")
    assert read_run(tmp_path).names == ("c", "a", "b")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda run: run / "absent", "there is no such folder"),
        (lambda run: run, "none of its folders has a manifest.json; found nothing"),
        (lambda run: write_stage(run, "sft", "train"), "one stage of a run.*\n.*Give the run itself"),
    ],
)
def test_what_is_no_run_is_refused_with_what_was_found(tmp_path, prepare, message):
    with pytest.raises(UserError, match=message):
        write_report(prepare(tmp_path))


def test_a_run_whose_manifests_cannot_be_read_is_not_called_an_empty_folder(tmp_path):
    (tmp_path / "sft").mkdir()
    (tmp_path / "sft" / "manifest.json").write_text('{"fingerprint": "f", "inputs": {"stage": "train"}}')
    with pytest.raises(UserError, match=r"another version of alignkit wrote them; found sft"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("evaluation.json", "{"),
        ("evaluation.json", '{"kind": "policies"}'),
        (
            "evaluation.json",
            '{"kind": "policies", "on": "x", "measures": {}, "targets": {"base": {"kl": 3}}}',
        ),
        ("evaluation.json", '{"kind": "policies", "on": "x", "measures": {"kl": 3}, "targets": {}}'),
        ("metrics.jsonl", "nonsense\n{}\n"),
        ("summary.json", "[1"),
        ("samples.jsonl", '{"prompt": "p"}\n'),
        ("quantization.json", '{"cost": 0.1}'),
        ("data.json", "[1"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, file, text):
    write_evaluation(tmp_path, "compare", {"base": policy_measures(0.1, 0.2, 0.3, 4)}, reads=[])
    (tmp_path / "compare" / file).write_text(text)
    with pytest.raises(UserError, match=file):
        write_report(tmp_path)


def test_stages_come_in_the_order_of_the_recipe_then_those_that_left_it(tmp_path):
    write_stage(tmp_path, "old", "train")
    write_stage(tmp_path, "a", "train")
    write_stage(tmp_path, "b", "label", reads=["a"])
    write_stage(tmp_path, "c", "train")
    keep_recipe(RunFolder(tmp_path), KeptRecipe(("c", "a", "b", "next")))
    run = read_run(tmp_path)
    assert run.names == ("c", "a", "b", "old")
    assert run.waiting == ("next",)
    assert not run.done
    keep_recipe(RunFolder(tmp_path), KeptRecipe(("c", "a", "b")))
    assert read_run(tmp_path).done


def test_a_run_whose_first_stage_is_not_begun_is_read(tmp_path):
    keep_recipe(RunFolder(tmp_path), KeptRecipe(("sft",)))
    assert read_run(tmp_path).waiting == ("sft",)
    assert "not begun" in write_report(tmp_path).read_text()


def test_a_stage_that_is_just_writing_its_metrics_is_drawn(tmp_path):
    write_train(tmp_path, "sft", "sft", offline_metrics(3, pairs=False), done=False)
    with (tmp_path / "sft" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    (stage,) = read_run(tmp_path).stages
    assert [record["step"] for record in stage.metrics] == [1, 2, 3]
    assert write_report(tmp_path).is_file()


def test_a_conversation_is_read_with_its_roles(tmp_path):
    write_evaluation(tmp_path, "compare", {"base": policy_measures(0.1, 0.2, 0.3, 4)}, reads=[])
    conversation = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    line = {
        "prompt": conversation,
        "completions": {"base": [[{"role": "assistant", "content": "Good day."}]]},
        "scores": {},
    }
    (tmp_path / "compare" / "samples.jsonl").write_text(json.dumps(line) + "\n")
    (stage,) = read_run(tmp_path).stages
    ((answers,),) = (shown.answers for shown in stage.answers)
    assert answers.prompt == "system: Be kind.\n\nuser: Hello"
    assert answers.completions == {"base": ("Good day.",)}
    page = write_report(tmp_path).read_text()
    assert answers.prompt in page
    assert "Good day." in page
    assert "assistant:" not in page
