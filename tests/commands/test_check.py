"""`alignkit check`."""

from tiny_runs import write_recipe


def test_the_plan_is_one_line_per_stage_below_the_model(alignkit, base, tmp_path):
    stages = "  one: {train: sft, on: pairs}\n  two: {train: dpo, on: pairs, start: one}"
    out, _ = alignkit("check", write_recipe(tmp_path, base, stages), "training.steps=7")
    first, *lines = out.splitlines()
    assert first == f"tiny: {base}, none, LoRA r=4, seed 0"
    assert [line.split()[:3] for line in lines] == [["one", "train", "sft"], ["two", "train", "dpo"]]
    assert all("7 steps" in line for line in lines)


def test_a_mistake_is_one_message(alignkit, base, tmp_path):
    recipe = write_recipe(tmp_path, base, "  one: {train: sftt, on: pairs}")
    assert "Did you mean 'sft'" in alignkit("check", recipe, code=2)[1]
