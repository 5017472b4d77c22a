"""How a base is found, and which pad token its tokenizer has."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models.pretrained import choose_pad, load_tokenizer, locate, most_positions
from alignkit.registry import Registry

PLUGIN = """from alignkit import hookimpl


@hookimpl
def register_models(register):
    register("our-1b", lambda: "our-organisation/our-1b-instruct")
"""


def test_a_base_is_a_registered_name_a_folder_or_a_name_on_the_hub(base, tmp_path, monkeypatch):
    (tmp_path / "ours.py").write_text(PLUGIN)
    registry = Registry([tmp_path / "ours.py"])
    monkeypatch.chdir(base.parent)
    place = lambda name: locate(recipe.Model(base=name), registry)
    assert place("our-1b") == "our-organisation/our-1b-instruct"
    assert place(f"./{base.name}") == str(base.resolve())
    assert place("owner/name") == "owner/name"
    with pytest.raises(UserError, match=r"model\.base: no folder '\./missing'") as error:
        place("./missing")
    assert "our-1b" in (error.value.hint or "")


def test_a_plugin_that_cannot_find_its_model_is_named_with_its_line(tmp_path):
    (tmp_path / "ours.py").write_text(PLUGIN.replace('"our-organisation/our-1b-instruct"', "1 / 0"))
    with pytest.raises(UserError, match=r"model\.base: .* 'our-1b' .*ZeroDivisionError: .*\(ours.py:6\)"):
        locate(recipe.Model(base="our-1b"), Registry([tmp_path / "ours.py"]))


def test_positions_are_known_without_the_weights(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "base", ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    assert most_positions(recipe.Model(base=str(folder)), Registry()) == config["max_position_embeddings"]


def test_a_base_that_is_not_there_is_the_recipes_mistake(tmp_path):
    with pytest.raises(UserError, match=r"model\.base: cannot load") as error:
        load_tokenizer(recipe.Model(base=str(tmp_path)), Registry())
    assert "a folder needs config.json" in (error.value.hint or "")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ({"pad_token": "red", "unk_token": "blue"}, "red"),
        ({"pad_token": "<eos>", "unk_token": "blue", "bos_token": "cat"}, "blue"),
        ({"unk_token": "<eos>", "bos_token": "cat"}, "cat"),
        ({"bos_token": "<eos>", "additional_special_tokens": ["<eos>", "now", "dog"]}, "dog"),
        ({}, "<eos>"),
    ],
)
def test_pad_is_a_special_token_that_ends_nothing(base, tokens, expected):
    tokenizer = AutoTokenizer.from_pretrained(base, **{"pad_token": None, "unk_token": None, **tokens})
    size = len(tokenizer)
    choose_pad(tokenizer, ends=[*tokenizer.convert_tokens_to_ids(["<pad>", "now"]), None])
    assert tokenizer.pad_token == expected
    assert len(tokenizer) == size, "nothing is added"


def test_what_the_generation_settings_end_with_is_no_pad(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "base")
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [0, 1]}))
    spec = recipe.Model(base=str(folder))
    assert load_tokenizer(spec, Registry()).pad_token == "<eos>"
    (folder / "generation_config.json").unlink()
    assert load_tokenizer(spec, Registry()).pad_token == "<pad>"
