"""`alignkit check`."""

import pytest
from tiny_runs import write_recipe


def test_the_plan_is_one_line_per_stage_below_the_model(alignkit, base, tmp_path):
    stages = "  one: {train: sft, on: pairs}\n  two: {train: dpo, on: pairs, start: one}"
    out, _ = alignkit("check", write_recipe(tmp_path, base, stages), "training.steps=7")
    first, model, *lines, note = out.splitlines()
    assert first == "tiny: LoRA r=4, seed 0"
    assert model == f"  model {base}: 19,680 parameters, not quantized"
    assert [line.split()[:3] for line in lines] == [["one", "train", "sft"], ["two", "train", "dpo"]]
    assert all("7 steps" in line for line in lines)
    assert note.strip() == "adapters are computed by PEFT, which is slower: dropout"


OFFLINE = "  one: {train: sft, on: pairs}"
ONLINE = "  one: {train: reinforce, on: pairs, reward: length}"
NO_TRAINING = "  one: {sample: base, on: pairs}"


@pytest.mark.parametrize(
    ("stages", "lora", "named"),
    [
        (OFFLINE, '{"dropout": 0.1, "use_dora": true}', "use_dora, dropout"),
        (OFFLINE, "{}", ""),
        (ONLINE, '{"dropout": 0.1, "use_dora": true}', "use_dora"),
        (ONLINE, '{"dropout": 0.1}', ""),
        (NO_TRAINING, '{"use_dora": true}', ""),
    ],
)
def test_a_line_names_the_settings_for_which_peft_computes_the_adapters(
    stages, lora, named, alignkit, base, tmp_path
):
    out, _ = alignkit("check", write_recipe(tmp_path, base, stages), f"model.lora={lora}")
    *_, last = out.splitlines()
    found = last.strip().partition("adapters are computed by PEFT, which is slower: ")[2]
    assert found == named


def test_a_mistake_is_one_message(alignkit, base, tmp_path):
    recipe = write_recipe(tmp_path, base, "  one: {train: sftt, on: pairs}")
    assert "Did you mean 'sft'" in alignkit("check", recipe, code=2)[1]
