"""The number of a base's weights, from files or from its architecture."""

import json

import pytest
import torch
from safetensors.torch import save_file
from tiny_bases import save_base
from transformers import AutoModelForCausalLM

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models import weights_size
from alignkit.models.weights_size import counted_parameters, known_parameters
from alignkit.registry import Plugin, Registry


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"), "llama")


def spec(base):
    return recipe.Model(base=str(base))


@pytest.fixture
def registry():
    return Registry()


def test_headers_tell_the_number_of_the_weights_that_are_loaded(folder, registry):
    expected = AutoModelForCausalLM.from_pretrained(folder).num_parameters()
    assert known_parameters(spec(folder), registry) == expected
    assert counted_parameters(spec(folder), registry) == expected


def test_several_files_add_up_and_one_that_is_missing_leaves_the_number_open(tmp_path, registry):
    save_file({"a": torch.zeros(3, 5)}, tmp_path / "one.safetensors", metadata={"format": "pt"})
    save_file({"b": torch.zeros(7), "c": torch.zeros(())}, tmp_path / "two.safetensors")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert known_parameters(spec(tmp_path), registry) == 3 * 5 + 7 + 1
    (tmp_path / "two.safetensors").unlink()
    assert known_parameters(spec(tmp_path), registry) is None


@pytest.mark.parametrize("tied", [True, False])
def test_without_files_the_architecture_tells_and_tied_weights_count_once(tmp_path, registry, tied):
    save_base(tmp_path, "llama", tie_word_embeddings=tied)
    expected = sum(
        parameter.numel() for parameter in AutoModelForCausalLM.from_pretrained(tmp_path).parameters()
    )
    (tmp_path / "model.safetensors").unlink()
    assert known_parameters(spec(tmp_path), registry) is None
    assert counted_parameters(spec(tmp_path), registry) == expected


def test_files_of_the_hub_count_where_they_were_downloaded(folder, registry, monkeypatch):
    cached = {"model.safetensors": str(folder / "model.safetensors")}
    asked = []

    def look(place, name, revision):
        asked.append((place, revision))
        return cached.get(name)

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", look)
    hub = recipe.Model(base="owner/name", revision="v2")
    assert known_parameters(hub, registry) == known_parameters(spec(folder), registry)
    assert set(asked) == {("owner/name", "v2")}
    cached.clear()
    assert known_parameters(hub, registry) is None


def test_a_registered_model_has_the_number_that_its_plugin_says_and_is_not_touched(registry):
    plugin = Plugin("mine", "mine", __file__)

    def locate():
        raise AssertionError("it was located")

    registry._model(plugin, "told", locate, parameters=12)
    registry._model(plugin, "untold", locate)
    assert known_parameters(spec("told"), registry) == 12
    assert counted_parameters(spec("told"), registry) == 12
    assert known_parameters(spec("untold"), registry) is None


@pytest.mark.bundled
def test_the_bundled_model_has_the_number_that_its_plugin_says(registry):
    found = weights_size._in_files(registry.models.get("smollm2-135m")(), None)
    assert found == known_parameters(spec("smollm2-135m"), registry)


def test_a_base_that_is_nowhere_is_named(registry):
    assert known_parameters(spec("./nowhere"), registry) is None
    with pytest.raises(UserError, match="no folder"):
        counted_parameters(spec("./nowhere"), registry)


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 269060552\n",
        (20).to_bytes(8, "little") + b'{"weight": {"dtype": ',
        (2).to_bytes(8, "little") + b"[]",
        b"",
    ],
)
def test_a_file_that_holds_no_weights_is_named(registry, tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="damaged, or was not fetched whole") as error:
        known_parameters(spec(str(tmp_path)), registry)
    assert error.value.where == str(tmp_path / "model.safetensors")


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_list_of_files_that_is_none_is_named(registry, tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UserError, match="damaged, or was not fetched whole"):
        known_parameters(spec(str(tmp_path)), registry)
