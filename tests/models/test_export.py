"""What is taken out of a run: the adapter as it was when its stage was done, alone or merged into its
base.
"""

import json
import shutil
import warnings

import pytest
import torch
from peft import PeftModel
from tiny_bases import GPT, load_tiny, save_base
from tiny_runs import run, write_recipe
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from alignkit import recipe
from alignkit.data.rows import flat_rows
from alignkit.errors import UserError
from alignkit.example import Group
from alignkit.models.base import load_base
from alignkit.models.computing import role_signals
from alignkit.models.export import export_adapter, export_merged
from alignkit.models.roles import Roles
from alignkit.registry import Registry


@pytest.fixture(scope="module")
def made(base, tmp_path_factory):
    """A reward-model run whose base was given relative to the working directory, with a tokenizer that pads
    with end-of-sequence.
    """
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(base, folder / "base")
    AutoTokenizer.from_pretrained(base, pad_token="<eos>", unk_token="red").save_pretrained(folder / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stage = "  one: {train: bradley-terry, on: pairs}"
        recipe_ = write_recipe(folder, base, stage, "model.base=./base")
        run(recipe_, folder)
    return folder


@pytest.fixture
def stage(made, tmp_path):
    return shutil.copytree(made / "tiny" / "one", tmp_path / "one")


def test_a_merged_reward_model_scores_as_the_role_from_any_working_directory(
    made, stage, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    export_merged(stage, tmp_path / "merged")
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    spec = recipe.Model(base=str(made / "base"), quantization="none", dtype="float32")
    roles = Roles(load_base(spec, Registry(), torch.device("cpu")), recipe.Lora(), seed=0)
    roles.add("reward", trainable=False, start=stage / "adapter")

    ids = [2, 5, 9, 12, 1]  # ends with <eos>
    found = merged(torch.tensor([ids])).logits[0]
    expected = role_signals(roles, "reward", flat_rows([Group(ids[:2], (ids[2:],))]))["scores"]
    assert expected.abs() > 0.05
    # the merged weights are rounded to bf16
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)
    assert merged.config.pad_token_id == AutoTokenizer.from_pretrained(tmp_path / "merged").pad_token_id != 1


def test_a_base_that_is_gone_is_named(made, stage, tmp_path):
    config = stage / "adapter" / "adapter_config.json"
    kept = json.loads(config.read_text())
    assert kept["base_model_name_or_path"] == str(made / "base")
    hidden = (made / "base").rename(made / "elsewhere")
    try:
        with pytest.raises(UserError, match=f"no folder '{made}/base'") as error:
            export_merged(stage, tmp_path / "merged")
    finally:
        hidden.rename(made / "base")
    assert error.value.where == str(config)
    assert "Bring the folder back" in (error.value.hint or "")


@pytest.mark.parametrize("take", [export_adapter, export_merged])
def test_a_damaged_adapter_is_refused_by_name(take, stage, tmp_path):
    weights = stage / "adapter" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"adapter/adapter_model\.safetensors is missing or was changed"):
        take(stage, tmp_path / "out")
    weights.unlink()
    with pytest.raises(UserError, match=r"adapter/adapter_model\.safetensors is missing"):
        take(stage, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("architecture", "quantization", "options", "warns"),
    [
        ("gpt2", "nf4", GPT, "fan_in_fan_out is set to False"),
        ("mixtral", "none", {"num_local_experts": 2}, "rank_pattern keys did not match"),
    ],
)
def test_peft_warns_of_nothing_where_nothing_is_wrong(
    made, tmp_path, architecture, quantization, options, warns
):
    base = save_base(tmp_path / "base", architecture, **options)
    roles = Roles(load_tiny(base, quantization=quantization), recipe.Lora(r=4), seed=0)
    roles.add("policy", trainable=True)
    stage = shutil.copytree(made / "tiny" / "one", tmp_path / "one")
    shutil.rmtree(stage / "adapter")
    roles.save("policy", stage / "adapter")
    manifest = json.loads((stage / "manifest.json").read_text())
    manifest["files"] = {}
    (stage / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(match=warns):
        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(stage / "adapter"))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        export_merged(stage, tmp_path / "merged")
    assert not [str(one.message) for one in seen if one.category is not FutureWarning]
