"""What is put together for the page."""

from fake_run import offline_metrics, policy_measures, write_evaluation, write_train

from alignkit.report.reading import read_run
from alignkit.report.sections import Drawn, make_sections


def test_seeds_are_one_training_of_one_look(tmp_path):
    for name in ("sft", "dpo-seed-1", "dpo-seed-2"):
        write_train(tmp_path, name, "dpo", offline_metrics(3, pairs=False))
    row = policy_measures(0.3, 1.0, 2.0, 40)
    each = {"dpo": {"dpo-seed-1": row, "dpo-seed-2": row}}
    write_evaluation(tmp_path, "compare", {"base": row, "dpo": row}, reads=[], each=each)
    sections = make_sections(read_run(tmp_path), Drawn())
    assert {shown.family: len(shown.stages) for shown in sections.trained} == {"dpo": 2, "sft": 1}
    look = sections.look
    assert look["dpo-seed-1"] == look["dpo-seed-2"] == look["dpo"] != look["sft"]
    assert [sheet.name for sheet in sections.sheets] == ["compare.csv", "dpo.csv", "sft.csv"]


def test_what_was_drawn_is_drawn_again_only_if_it_was_made_of_something_else():
    drawn, calls = Drawn(), []

    def draw():
        calls.append(1)
        return len(calls)

    assert [drawn("a", 1, draw), drawn("a", 1, draw), drawn("a", 2, draw), drawn("b", 2, draw)] == [
        1,
        1,
        2,
        3,
    ]
